#include "mirror/reference.h"

#include "scratch.h"

#include <errno.h>
#include <string.h>

/* --- a small configuration ---------------------------------------------------------------------------------- */

static char hub_name[] = "docker.io", hub_alias[] = "registry-1.docker.io", ghcr_name[] = "ghcr.io",
            local_name[] = "registry.example:5000";
static char *hub_aliases[] = {hub_alias, NULL};
static struct config_registry registries[] = {
    {.name = hub_name, .aliases = {.items = hub_aliases, .count = 1}},
    {.name = ghcr_name},
    {.name = local_name},
};
static const struct config config = {
    .registries = registries,
    .registry_count = ARRAY_SIZE(registries),
    .default_registry = &registries[0],
};

/* --- resolving ---------------------------------------------------------------------------------------------- */

static const struct {
    const char *ns, *name;       /* as a request has them */
    const char *registry, *path; /* what they mean; NULL: `error` */
    int error;
} resolutions[] = {
    /* nothing but a name: the default registry */
    {NULL, "library/alpine", "docker.io", "library/alpine", 0},
    {"", "library/alpine", "docker.io", "library/alpine", 0},
    {NULL, "alpine", "docker.io", "library/alpine", 0},
    {NULL, "grafana/grafana", "docker.io", "grafana/grafana", 0},
    /* `ns` decides */
    {"docker.io", "library/alpine", "docker.io", "library/alpine", 0},
    {"docker.io", "alpine", "docker.io", "library/alpine", 0},
    {"registry-1.docker.io", "alpine", "docker.io", "library/alpine", 0},
    {"DOCKER.io", "alpine", "docker.io", "library/alpine", 0},
    {"ghcr.io", "alpine", "ghcr.io", "alpine", 0},
    {"registry.example:5000", "a/b/c/d", "registry.example:5000", "a/b/c/d", 0},
    /* so does a path prefix */
    {NULL, "ghcr.io/alpine", "ghcr.io", "alpine", 0},
    {NULL, "docker.io/alpine", "docker.io", "library/alpine", 0},
    {NULL, "docker.io/library/alpine", "docker.io", "library/alpine", 0},
    {NULL, "registry-1.docker.io/library/alpine", "docker.io", "library/alpine", 0},
    {NULL, "registry.example:5000/x", "registry.example:5000", "x", 0},
    /* both: the prefix that says the same goes, by an alias as well; another one is a part of the name */
    {"docker.io", "docker.io/library/alpine", "docker.io", "library/alpine", 0},
    {"docker.io", "registry-1.docker.io/alpine", "docker.io", "library/alpine", 0},
    {"ghcr.io", "docker.io/library/alpine", "ghcr.io", "docker.io/library/alpine", 0},
    /* a host that is not configured is a part of the name, where names may look so */
    {NULL, "quay.io/x/y", "docker.io", "quay.io/x/y", 0},
    /* a registry's name alone is a repository's name */
    {NULL, "ghcr.io", "docker.io", "library/ghcr.io", 0},
    {"quay.io", "x/y", NULL, NULL, -ENOENT},
    {"169.254.169.254", "latest/meta-data", NULL, NULL, -ENOENT},
    {"docker.io ", "library/alpine", NULL, NULL, -ENOENT},
    {"docker", "library/alpine", NULL, NULL, -ENOENT},
    {NULL, "", NULL, NULL, -EINVAL},
    {NULL, "ghcr.io/", NULL, NULL, -EINVAL},
    {NULL, "quay.io:443/x", NULL, NULL, -EINVAL},
    {"docker.io", "../../etc/passwd", NULL, NULL, -EINVAL},
    {"docker.io", "a/../b", NULL, NULL, -EINVAL},
    {"docker.io", "/library/alpine", NULL, NULL, -EINVAL},
    {"docker.io", "Library/Alpine", NULL, NULL, -EINVAL},
};

START_TEST(a_request_names_a_registry_and_a_repository)
{
    struct repository_name name = {.path = "untouched"};
    int r = repository_resolve(&config, resolutions[_i].ns, resolutions[_i].name, &name);
    ck_assert_msg(r == resolutions[_i].error, "%s of %s: %d", resolutions[_i].name, resolutions[_i].ns, r);
    ck_assert_str_eq(name.path, r == 0 ? resolutions[_i].path : "untouched");
    if (r == 0)
        ck_assert_str_eq(name.registry->name, resolutions[_i].registry);
}
END_TEST

START_TEST(registry_and_repository_fit_into_255_characters_together)
{
    struct repository_name name;
    char longest[LIMIT_NAME + 8];
    size_t room = LIMIT_NAME - strlen("ghcr.io/");
    memset(longest, 'a', sizeof(longest));
    longest[room] = '\0';
    ck_assert_int_eq(repository_resolve(&config, "ghcr.io", longest, &name), 0);
    ck_assert_str_eq(name.path, longest);
    longest[room] = 'a';
    longest[room + 1] = '\0';
    ck_assert_int_eq(repository_resolve(&config, "ghcr.io", longest, &name), -ENAMETOOLONG);

    /* "library/" counts */
    room = LIMIT_NAME - strlen("docker.io/library/");
    longest[room] = '\0';
    ck_assert_int_eq(repository_resolve(&config, NULL, longest, &name), 0);
    longest[room] = 'a';
    longest[room + 1] = '\0';
    ck_assert_int_eq(repository_resolve(&config, NULL, longest, &name), -ENAMETOOLONG);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("reference");
    TCase *tests = tcase_create("reference");
    tcase_add_loop_test(tests, a_request_names_a_registry_and_a_repository, 0, ARRAY_SIZE(resolutions));
    tcase_add_test(tests, registry_and_repository_fit_into_255_characters_together);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
