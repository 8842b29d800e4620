#include "cli/client.h"
#include "cli/command.h"
#include "cli/hosts_options.h"
#include "cli/inputs.h"
#include "serve.h"

static const struct command commands[] = {
    {"serve", "[--config FILE]", "run the mirror, in the foreground",
     "Runs the mirror until SIGTERM or SIGINT, in the foreground, as any user. Logs go to standard error.\n"
     "\n"
     "  --config FILE   the configuration (docs/configuration.md); without it everything has its default\n"
     "\n"
     "SIGTERM, SIGINT   accept nothing more, let running downloads end within server.drain_timeout, cut the rest off,\n"
     "                  leave with status 0. A second one changes nothing.\n"
     "SIGHUP            read the configuration and the credentials again; a wrong configuration changes nothing.\n",
     serve_command},
    {"status", "[--json]", "show what the server is doing",
     "Asks the running server how it is: the store, hits and misses, pull limits and when they will be spent, sources\n"
     "and their health, what is on its way, and for whom pulls were spent.\n"
     "\n"
     "  entrepot status\n"
     "  entrepot status --json | jq '.sources[] | select(.breaker != \"closed\") | .name'\n"
     "\n" CLIENT_HELP,
     status_command},
    {"top", "[--interval SECONDS]", "show it again and again",
     "What entrepot status shows, again and again, until q, Ctrl-C or Escape leaves it.\n"
     "\n"
     "  entrepot top --interval 5\n"
     "\n"
     "  --interval SECONDS  from one to the next; 2 without it\n" CLIENT_HELP,
     top_command},
    {"ls", "[PATTERN]", "list the images that are stored",
     "Lists what is stored under a tag, and what was pulled by its digest alone. SIZE is what is stored of the image, "
     "with\n"
     "layers that others have, too; LACKS are parts that a client would have to wait for. AGE is since it was stored, "
     "USED\n"
     "since it was pulled last.\n"
     "\n"
     "  entrepot ls\n"
     "  entrepot ls 'docker.io/library/*'\n"
     "  entrepot ls --json | jq -r '.images[] | select(.missing > 0) | .image'\n"
     "\n"
     "PATTERN   of registry/repository, registry/repository:tag or registry/repository@digest; * is any text\n"
     "\n" CLIENT_HELP,
     ls_command},
    {"tags", "REPOSITORY", "list the tags of a repository that are stored",
     "Lists the tags of a repository that this mirror knows, with what they stand for. What tags the registry has is "
     "another\n"
     "question: curl http://MIRROR/v2/REPOSITORY/tags/list.\n"
     "\n"
     "  entrepot tags alpine\n"
     "  entrepot tags quay.io/prometheus/prometheus\n"
     "\n" CLIENT_HELP,
     tags_command},
    {"inspect", "IMAGE", "show what is stored of an image, part by part",
     "Shows the index, the manifests and the layers of an image: which of them are stored, how large they are, and how "
     "many\n"
     "other images have them, too (OTHERS).\n"
     "\n"
     "  entrepot inspect alpine:3.20\n"
     "  entrepot inspect registry.k8s.io/pause@sha256:...\n"
     "\n" CLIENT_HELP,
     inspect_command},
    {"explain", "IMAGE", "say what would happen on a pull, and what went wrong",
     "Says what is stored of an image, how fresh its tag is, which rules apply, what would happen on a pull now, and "
     "what "
     "has\n"
     "gone wrong with it lately, for whom and why.\n"
     "\n"
     "  entrepot explain docker.io/library/nginx:1.27\n"
     "  entrepot explain nginx:1.27 --json | jq -r .pull.decision\n"
     "\n" CLIENT_HELP,
     explain_command},
    {"pin", "IMAGE|PATTERN [--for TIME]", "keep an image in the store, whatever is used more",
     "Pins an image, or all that a pattern matches, now and later: it is not evicted. It need not be stored yet; a pin "
     "does\n"
     "not fetch. A pinned tag is what it stands for at any time. Another pin of the same is replaced.\n"
     "\n"
     "  entrepot pin registry.k8s.io/pause:3.9\n"
     "  entrepot pin 'quay.io/company/*' --for 30d\n"
     "\n"
     "  --for TIME         a number and s, m, h, d or w; for ever without it\n" CLIENT_HELP,
     pin_command},
    {"unpin", "IMAGE|PATTERN", "let it go again",
     "Takes a pin away, by the words that entrepot pins shows.\n"
     "\n"
     "  entrepot unpin 'quay.io/company/*'\n"
     "\n" CLIENT_HELP,
     unpin_command},
    {"pins", "", "list the pins",
     "Lists what is pinned, until when, and by which list.\n"
     "\n"
     "  entrepot pins\n"
     "\n" CLIENT_HELP,
     pins_command},
    {"rm", "IMAGE...", "remove images from the store",
     "Forgets a tag, and removes what no other image needs. Who is pulling it goes on. The next pull fetches it anew.\n"
     "A pinned image is unpinned first.\n"
     "\n"
     "  entrepot rm docker.io/library/alpine:3.19\n"
     "  entrepot rm alpine@sha256:...        whatever tags stand for it\n"
     "\n" CLIENT_HELP,
     rm_command},
    {"purge", "[PATTERN]", "have tags asked for anew at the next pull",
     "Ends the time for which tags, lists of tags and referrers are taken to be fresh, as if their ttl had just "
     "passed: "
     "the\n"
     "next pull asks the upstream by HEAD, which no limit counts. What is stored stays, and is served where the "
     "upstream\n"
     "does not answer. What failed a moment ago may be tried again at once.\n"
     "\n"
     "  entrepot purge docker.io/library/nginx\n"
     "  entrepot purge 'quay.io/*'\n"
     "\n"
     "PATTERN   as that of entrepot ls; without it everything\n"
     "\n" CLIENT_HELP,
     purge_command},
    {"gc", "[--dry-run]", "remove what is of no use",
     "Removes blobs that no stored manifest names and nobody has used for an hour, fetches that were not gone on with "
     "for a\n"
     "day, damaged files in quarantine, and pins that have expired. Images stay, however old: the server itself evicts "
     "them\n"
     "when the store is full.\n"
     "\n"
     "  entrepot gc --dry-run\n"
     "\n"
     "  --dry-run          say what would go\n" CLIENT_HELP,
     gc_command},
    {"du", "", "show which repositories take the room",
     "Shows for each repository how much it alone has (OWN), and what others have as well (SHARED).\n"
     "\n"
     "  entrepot du\n"
     "  entrepot du --json | jq '.repositories[:10]'\n"
     "\n" CLIENT_HELP,
     du_command},
    {"seed", "[OPTIONS] FILE...", "have images fetched before anybody pulls them",
     "Gives the server lists of images to fetch, and shows how it gets on. The server works them off by itself, as "
     "the\n"
     "pull limits let it, and leaves live pulls their reserve; Ctrl-C ends the looking on, not the seed, which also "
     "goes\n"
     "on after a restart.\n"
     "\n"
     "  entrepot seed --dry-run images.txt        what it would cost, as far as is known here\n"
     "  helm template argo-cd argo/argo-cd | entrepot seed --name argo-cd --pin -\n"
     "  entrepot seed --watch argo-cd\n"
     "\n" INPUTS_HELP "  --name NAME        what it is called; a seed of that name is replaced\n"
     "  --pin              its images are not evicted as long as the seed is kept\n"
     "  --every 6h         it is repeated, so long after it has ended (s, m, h, d, w): tags that moved are fetched\n"
     "  --dry-run          only say what it would cost; nobody is asked\n"
     "  --detach           do not look on\n"
     "  --watch SEED       look on at one that there is, by its name or number\n"
     "  --cancel SEED      stop it; what has come stays\n"
     "  --forget SEED      stop it, and take it and its pins away\n" CLIENT_HELP "\n"
     "Exit status 0: everything is there. 1: something failed, as is said at the end, with the cause and what to do.\n"
     "130: Ctrl-C.\n",
     seed_command},
    {"seeds", "[--json]", "list the seeds", "Lists what the server has been given to fetch.\n\n" CLIENT_HELP,
     seeds_command},
    {"audit", "[OPTIONS] FILE...", "say which images would be served if every upstream vanished now",
     "Reads lists of images, and says of each whether it would be served without an upstream: its tag, its manifests\n"
     "and all its layers, for each platform. Nothing is asked upstream. For what is wanting, the pulls and bytes that\n"
     "seeding it would take.\n"
     "\n" INPUTS_HELP "  --wanting          show only what is not served\n" CLIENT_HELP "\n"
     "  kubectl get pods,deployments,statefulsets,daemonsets,cronjobs -A -o json | entrepot audit -\n",
     audit_command},
    {"backup", "[--since FILE | --metadata] FILE", "write what is stored to a file",
     "Writes all that the running server has in its store to FILE, a tar in zstd, or to standard output (-). Pulls go "
     "on\n"
     "meanwhile. FILE is there when it is whole; until then it is FILE.partial.\n"
     "\n"
     "  --since FILE       an incremental backup: contents that FILE, an earlier backup, has are left out. To restore, "
     "all\n"
     "                     files of such a chain are needed\n"
     "  --metadata         tags, pins and records only, without contents: small, and of use where an upstream is "
     "there\n"
     "\n"
     "  entrepot backup /backup/monday.tar.zst\n"
     "  entrepot backup --since /backup/monday.tar.zst /backup/tuesday.tar.zst\n"
     "\n" CLIENT_HELP,
     backup_command},
    {"verify", "FILE...", "say whether a backup is good",
     "Reads a backup, or a chain of them, the whole one first, and compares every digest. No server is needed.\n",
     verify_command},
    {"restore", "[--config FILE] FILE...", "fill an empty store from a backup",
     "Writes a backup, or a chain of them, the whole one first, into the store of the configuration, which is empty, "
     "and\n"
     "compares every digest. The server is not running. What was cut is gone on with by the same command again.\n"
     "\n"
     "  --config FILE   the configuration; without it everything has its default\n"
     "\n"
     "  entrepot restore --config /etc/entrepot.yaml /backup/monday.tar.zst /backup/tuesday.tar.zst\n",
     restore_command},
    {"rebuild", "[--config FILE]", "make the index of a store anew from its files",
     "Reads every file of the store and makes its index anew. The server is not running. It does the same by itself at "
     "its\n"
     "start, where the index is lost, damaged or of another version. Tags are asked for again, pins are lost: a backup "
     "has\n"
     "both (entrepot restore).\n"
     "\n"
     "  --config FILE   the configuration; without it everything has its default\n",
     rebuild_command},
    {"check-config", "[FILE]", "say what is wrong with a configuration",
     "Reads a configuration, from standard input where no FILE is named, and says all that is wrong with it, each "
     "with\n"
     "line and column. A `ca_file` must be there. Certificates, users, keys and tokens of the server are read when it\n"
     "starts, and credentials, which may come later, whenever they change.\n",
     check_config_command},
    {"hosts", "--for CLIENT [OPTION]...", "print or write what a client must be told of the mirror",
     "Prints the files that make containerd, crio, docker, podman, k3s (also RKE2) or buildkit pull through the "
     "mirror.\n"
     "All of them go on to the registry itself where the mirror does not answer.\n"
     "\n"
     "  --for CLIENT        containerd, crio, docker, podman, k3s or buildkit\n" HOSTS_OPTIONS_HELP
     "  --write DIR         write them below DIR, the client's own directory (/etc/containerd/certs.d, "
     "/etc/containers,\n"
     "                      /etc/docker, /etc/rancher/k3s, /etc/buildkit). Files that others wrote stay as they are.\n",
     hosts_command},
    {"nodes", "--for CLIENT [OPTION]...", "keep a node's client told of the mirror while it answers",
     "Runs on each node, until SIGTERM: writes the files of `entrepot hosts` once the mirror answers, keeps them as "
     "they\n"
     "are to be, and takes them away when it has been silent for long, and in the end. Files that others wrote stay.\n"
     "\n"
     "  --for CLIENT        containerd, crio or podman\n" HOSTS_OPTIONS_HELP
     "  --service NAME      the mirror is this service of Kubernetes, at the address that is in our environment\n"
     "  --write DIR         the client's own directory (/etc/containerd/certs.d, /etc/containers)\n"
     "  --every D           how often the mirror is asked (10s)\n"
     "  --timeout D         how long it has to answer (3s)\n"
     "  --gone-after D      how long it may be silent before the files go (10m)\n"
     "  --check             ask it once, say whether it answers, and end\n"
     "  --keep              leave the files where they are in the end\n"
     "  --remove            take them away now, and end\n"
     "\n"
     "SIGHUP asks the mirror at once. Where DIR itself was removed, which matters to a container that has it\n"
     "mounted, it ends with status 1, to be started again with what stands in its place.\n",
     nodes_command},
    {"reference", "[metrics]", "print all options of the configuration, or all metrics, as Markdown",
     "Prints what may stand in a configuration, with types, limits and defaults: docs/configuration.md.\n"
     "With `metrics`, what is counted: docs/metrics.md.\n",
     reference_command},
    {"completion", "bash|zsh|fish", "print what a shell needs to complete commands and options",
     "Prints a script for the shell that is named.\n"
     "\n"
     "  . <(entrepot completion bash)\n",
     completion_command, commands},
    {"manual", "", "print the manual page",
     "Prints entrepot(1).\n"
     "\n"
     "  entrepot manual | man -l -\n",
     manual_command, commands},
    {"version", "", "print the version", "Prints the name and version of the program. --version does the same.\n",
     version_command},
    {NULL}};

int main(int argc, char **argv)
{
    return command_main(commands, argc, argv);
}
