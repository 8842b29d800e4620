#include "cli/completion.h"

#include "cli/help.h"

#include <errno.h>
#include <string.h>

/* "--config FILE": the name, and what it takes. */
struct option_words {
    int name_len, value_len;
    const char *name, *value; /* value NULL: it takes none */
    bool is_file;
};

static struct option_words words_of(const struct help_line *l)
{
    static const char *const files[] = {"FILE", "DIR", "DIRECTORY", "PATH"};
    const char *space = memchr(l->term, ' ', l->term_len);
    struct option_words w = {.name = l->term, .name_len = (int)l->term_len};
    if (!space)
        return w;
    w.name_len = (int)(space - l->term);
    w.value = space + 1;
    w.value_len = (int)(l->term_len - (size_t)w.name_len - 1);
    for (size_t i = 0; i < ARRAY_SIZE(files); i++)
        w.is_file = w.is_file ||
                    ((size_t)w.value_len == strlen(files[i]) && memcmp(w.value, files[i], (size_t)w.value_len) == 0);
    return w;
}

static bool takes_files(const struct command *c)
{
    return strstr(c->arguments, "FILE") != NULL;
}

/* Inside single quotes. */
static int add_quoted(struct buf *b, const char *s, size_t len, const char *also)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < len; i++) {
        if (s[i] == '\'')
            r = buf_adds(b, "'\\''");
        else if (strchr(also, s[i]))
            r = buf_addf(b, "\\%c", s[i]);
        else
            r = buf_add(b, &s[i], 1);
    }
    return r;
}

/* ------------------------------------------------------------------ bash */

/* The names of the command's options: all, or those that take a file. */
static int add_names(const struct command *c, bool of_files, struct buf *b)
{
    struct help h = {.rest = c->help};
    struct help_line l;
    int r = 0;
    while (r == 0 && help_next_option(&h, &l)) {
        struct option_words w = words_of(&l);
        if (!of_files || w.is_file)
            r = buf_addf(b, "%.*s ", w.name_len, w.name);
    }
    return r;
}

static int bash_command(const struct command *c, struct buf *b)
{
    int r = buf_addf(b, "    %s) options='", c->name);
    if (r == 0)
        r = add_names(c, /* of_files= */ false, b);
    if (r == 0)
        r = buf_adds(b, "--help' paths=' ");
    if (r == 0)
        r = add_names(c, /* of_files= */ true, b);
    return r == 0 ? buf_addf(b, "' files=%s ;;\n", takes_files(c) ? "yes" : "") : r;
}

static int bash(const struct command *commands, struct buf *b)
{
    int r =
        buf_adds(b, "# bash completion of entrepot; for this shell alone: . <(entrepot completion bash)\n"
                    "_entrepot() {\n"
                    "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} options paths files\n"
                    "    COMPREPLY=()\n"
                    "    if [ \"$COMP_CWORD\" = 1 ]; then\n"
                    "        COMPREPLY=($(compgen -W '--help --version");
    for (const struct command *c = commands; r == 0 && c->name; c++)
        r = buf_addf(b, " %s", c->name);
    if (r == 0)
        r = buf_adds(b, "' -- \"$word\"))\n        return\n    fi\n    case ${COMP_WORDS[1]} in\n");
    for (const struct command *c = commands; r == 0 && c->name; c++)
        r = bash_command(c, b);
    if (r < 0)
        return r;
    return buf_adds(b, "    esac\n"
                       "    case $paths in\n"
                       "    *\" $before \"*) COMPREPLY=($(compgen -f -- \"$word\")) ;;\n"
                       "    *)\n"
                       "        case $word in\n"
                       "        -*) COMPREPLY=($(compgen -W \"$options\" -- \"$word\")) ;;\n"
                       "        *) [ -z \"$files\" ] || COMPREPLY=($(compgen -f -- \"$word\")) ;;\n"
                       "        esac\n"
                       "        ;;\n"
                       "    esac\n"
                       "}\n"
                       "complete -o filenames -F _entrepot entrepot\n");
}

/* ------------------------------------------------------------------ zsh */

static int zsh_command(const struct command *c, struct buf *b)
{
    struct help h = {.rest = c->help};
    struct help_line l;
    int r = buf_addf(b, "    %s) _arguments '--help[say more]'", c->name);
    while (r == 0 && help_next_option(&h, &l)) {
        struct option_words w = words_of(&l);
        r = buf_addf(b, " '%.*s[", w.name_len, w.name);
        if (r == 0)
            r = add_quoted(b, l.text, l.text_len, "[]:\\");
        if (r == 0)
            r = buf_adds(b, "]");
        if (r == 0 && w.value)
            r = buf_addf(b, ":%.*s:%s", w.value_len, w.value, w.is_file ? "_files" : " ");
        if (r == 0)
            r = buf_adds(b, "'");
    }
    return r == 0 ? buf_addf(b, "%s ;;\n", takes_files(c) ? " '*:file:_files'" : "") : r;
}

static int zsh(const struct command *commands, struct buf *b)
{
    int r = buf_adds(b, "#compdef entrepot\n"
                        "# zsh completion of entrepot: entrepot completion zsh >DIRECTORY-OF-FPATH/_entrepot\n"
                        "_entrepot() {\n"
                        "    local -a commands=(");
    for (const struct command *c = commands; r == 0 && c->name; c++) {
        r = buf_addf(b, "\n        '%s:", c->name);
        if (r == 0)
            r = add_quoted(b, c->summary, strlen(c->summary), ":\\");
        if (r == 0)
            r = buf_adds(b, "'");
    }
    if (r == 0)
        r = buf_adds(b, ")\n"
                        "    if (( CURRENT == 2 )); then\n        _describe command commands\n        return\n    fi\n"
                        "    local command=$words[2]\n"
                        "    shift words\n    (( CURRENT-- ))\n"
                        "    case $command in\n");
    for (const struct command *c = commands; r == 0 && c->name; c++)
        r = zsh_command(c, b);
    return r == 0 ? buf_adds(b, "    esac\n}\n_entrepot \"$@\"\n") : r;
}

/* ------------------------------------------------------------------ fish */

static int fish_command(const struct command *c, struct buf *b)
{
    struct help h = {.rest = c->help};
    struct help_line l;
    int r = buf_addf(b, "complete -c entrepot -n __fish_use_subcommand -f -a %s -d '", c->name);
    if (r == 0)
        r = add_quoted(b, c->summary, strlen(c->summary), "\\");
    if (r == 0)
        r = buf_addf(b, "'\ncomplete -c entrepot -n '__fish_seen_subcommand_from %s' %s -l help -d 'say more'\n",
                     c->name, takes_files(c) ? "-F" : "-f");
    while (r == 0 && help_next_option(&h, &l)) {
        struct option_words w = words_of(&l);
        if (w.name_len < 3 || memcmp(w.name, "--", 2) != 0)
            continue;
        r = buf_addf(b, "complete -c entrepot -n '__fish_seen_subcommand_from %s' %s-l %.*s -d '", c->name,
                     !w.value    ? ""
                     : w.is_file ? "-r -F "
                                 : "-x ",
                     w.name_len - 2, w.name + 2);
        if (r == 0)
            r = add_quoted(b, l.text, l.text_len, "\\");
        if (r == 0)
            r = buf_adds(b, "'\n");
    }
    return r;
}

static int fish(const struct command *commands, struct buf *b)
{
    int r = buf_adds(b, "# fish completion of entrepot: entrepot completion fish "
                        ">~/.config/fish/completions/entrepot.fish\n");
    for (const struct command *c = commands; r == 0 && c->name; c++)
        r = fish_command(c, b);
    return r;
}

int completion_write(const struct command *commands, const char *shell, struct buf *script)
{
    if (strcmp(shell, "bash") == 0)
        return bash(commands, script);
    if (strcmp(shell, "zsh") == 0)
        return zsh(commands, script);
    return strcmp(shell, "fish") == 0 ? fish(commands, script) : -EINVAL;
}
