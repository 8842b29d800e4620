#include "cli/probe.h"

#include <curl/curl.h>
#include <errno.h>
#include <string.h>

struct probe {
    CURL *easy;
    char why[CURL_ERROR_SIZE];
};

static size_t drop(char *data, size_t size, size_t count, void *unused)
{
    (void)data;
    (void)unused;
    return size * count;
}

int probe_create(const char *ca_file, int64_t timeout_ms, struct probe **ret_probe)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return -EIO;
    AUTO(auto_probe_destroy) struct probe *p = calloc(1, sizeof(*p));
    if (!p) {
        curl_global_cleanup();
        return -ENOMEM;
    }
    p->easy = curl_easy_init();
    if (!p->easy || curl_easy_setopt(p->easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms) != CURLE_OK ||
        curl_easy_setopt(p->easy, CURLOPT_NOPROXY, "*") != CURLE_OK ||
        curl_easy_setopt(p->easy, CURLOPT_NOSIGNAL, 1L) != CURLE_OK ||
        curl_easy_setopt(p->easy, CURLOPT_PROTOCOLS_STR, "http,https") != CURLE_OK ||
        curl_easy_setopt(p->easy, CURLOPT_ERRORBUFFER, p->why) != CURLE_OK ||
        curl_easy_setopt(p->easy, CURLOPT_WRITEFUNCTION, drop) != CURLE_OK ||
        /* each probe shows that a new connection can be had */
        curl_easy_setopt(p->easy, CURLOPT_FORBID_REUSE, 1L) != CURLE_OK ||
        (ca_file && curl_easy_setopt(p->easy, CURLOPT_CAINFO, ca_file) != CURLE_OK))
        return -ENOMEM;
    *ret_probe = TAKE_PTR(p);
    return 0;
}

const char *probe_ask(struct probe *p, const char *mirror)
{
    char url[4096];
    size_t len = strlen(mirror);
    while (len > 0 && mirror[len - 1] == '/')
        len--;
    if (len >= sizeof(url) - strlen("/v2/"))
        return "its URL is too long";
    (void)snprintf(url, sizeof(url), "%.*s/v2/", (int)len, mirror);
    p->why[0] = '\0';
    CURLcode code = curl_easy_setopt(p->easy, CURLOPT_URL, url);
    if (code == CURLE_OK)
        code = curl_easy_perform(p->easy);
    if (code != CURLE_OK)
        return p->why[0] ? p->why : curl_easy_strerror(code);

    long status = 0;
    struct curl_header *version;
    (void)curl_easy_getinfo(p->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200 && status != 401) {
        (void)snprintf(p->why, sizeof(p->why), "it answers with status %ld", status);
        return p->why;
    }
    return curl_easy_header(p->easy, "Docker-Distribution-Api-Version", 0, CURLH_HEADER, -1, &version) == CURLHE_OK
               ? NULL
               : "what answers is no registry";
}

void probe_destroy(struct probe *p)
{
    if (!p)
        return;
    curl_easy_cleanup(p->easy);
    curl_global_cleanup();
    free(p);
}
