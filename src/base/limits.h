/*
 * The limits that are not options, by name. Each says why it has its value. Options have theirs in src/config/schema.c.
 */
#pragma once

#define KIB 1024ULL
#define MIB (1024 * KIB)

/* containerd takes manifests up to 4 * 1048 * 1048 bytes, everybody else 4 MiB (protocol.md §3.8). */
#define LIMIT_MANIFEST (4ULL * 1048 * 1048)

/* A tags list of one repository, all pages together; a page's number of them bounds the requests for one list. */
#define LIMIT_TAGS_BODY (16 * MIB)
#define LIMIT_TAGS_PAGES 1000
#define LIMIT_REFERRERS_BODY (16 * MIB)
#define LIMIT_REFERRERS_PAGES 100

/* <name> of a path: many clients hold host + "/" + name to 255 characters (protocol.md §3.3). */
#define LIMIT_NAME 255
#define LIMIT_TAG 128

/* A flight writes to disk and wakes its readers by this much (feasibility.md §2). */
#define FLIGHT_GATHER (256 * KIB)
/* Bodies up to this size are answered when they are verified, so that an error is still a status and not a cut. */
#define FLIGHT_WHOLE (64 * KIB)
/* The end of a longer body that is held back until its digest is known to match. */
#define FLIGHT_HOLD_BACK (64 * KIB)

/* zstd's, for what is compressed at rest: half the speed of level 1, and most of what higher ones save
 * (docs/performance.md). */
#define PACK_LEVEL 3

/* A blob larger than this is refused: nothing of the field is near it, and a lying Content-Length must end somewhere.
 */
#define LIMIT_BLOB (1024ULL * 1024 * MIB)

/* What an upstream sends is bounded before it is understood. Real headers are below 8 KiB, real tokens about 3 KiB. */
#define LIMIT_RESPONSE_HEADER (64 * KIB)
#define LIMIT_URL (16 * KIB)
#define LIMIT_TOKEN_BODY (1 * MIB)
#define LIMIT_TOKEN (16 * KIB)
/* Of an error's or a redirect's body so much is read, so that the connection can be used again; then it is closed. */
#define LIMIT_IDLE_BODY (64 * KIB)
/* One job: real ones have one or two redirects, and at most three 401s (an expired token, then a clean challenge). */
#define LIMIT_REDIRECTS 5
#define LIMIT_CHALLENGES 6
/* The whole of one answer that is not a blob, from its header to its end; and the wait for a free connection. */
#define LIMIT_SMALL_BODY_MS 60000
#define LIMIT_QUEUE_MS 60000
/* Repositories and scopes of one registry that are remembered: challenges and tokens. */
#define LIMIT_GRANTS 1024
/* Hosts that said that they are asked too much and are remembered for it: registries and where they redirect to. */
#define LIMIT_PACED_HOSTS 256
/* A sibling that does not answer at once is not waited for: what it has, it has at hand. Before he is taken for dead,
 * who still waits for an upstream tells it so. */
#define LIMIT_SIBLING_CONNECT_MS 1000
#define LIMIT_SIBLING_HEADER_MS 3000
#define LIMIT_SIBLING_ANSWER_MS 2000
#define LIMIT_CREDENTIALS_FILE (1 * MIB)
#define LIMIT_CA_FILE (4 * MIB)

/* The admin API. A body is a list of references, of some 100 bytes each; a handler may wait for so long, and the client
 * and the connection have more patience than that. */
#define LIMIT_ADMIN_CONNECTIONS 16
#define LIMIT_ADMIN_HEADER (32 * KIB)
#define LIMIT_ADMIN_BODY (8 * MIB)
#define LIMIT_ADMIN_ANSWER (64 * MIB)
#define LIMIT_ADMIN_WAIT_MS 20000
#define LIMIT_ADMIN_IDLE_MS 60000
#define LIMIT_ADMIN_TOKEN (4 * KIB)

#define LOG_LINE_MAX (16 * KIB)
#define LOG_GATHER (256 * KIB)

/* All metrics as text. Some hundred series are usual, of about 100 bytes each. */
#define LIMIT_METRICS_PAGE (16 * MIB)

/* Documents (manifests and lists) in memory, all together; and the largest one that is stored. */
#define LIMIT_SHELF (16 * MIB)
#define LIMIT_DOCUMENT LIMIT_TAGS_BODY

/* Of a backup: blobs in its list, which who reads it has in memory (some 100 bytes each), and bytes of one table. */
#define LIMIT_BACKUP_BLOBS (4 * MIB)
#define LIMIT_BACKUP_TABLE (16 * 1024 * MIB)
/* So long the store may outgrow its bound, since a backup is being made of what would have to go. */
#define LIMIT_BACKUP_HOLD_MS 3600000
