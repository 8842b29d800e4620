/*
 * Kubernetes objects, as manifests, `helm template` and `kubectl get -o yaml|json` have them, alone, in a List, or in a
 * plain list. Wherever there are containers there are images: in a Pod, in the pod template of whatever kind of
 * workload at whatever depth. Custom resources have them in fields of their own as well: see fields.c.
 */
#include "lists/fields.h"
#include "lists/reading.h"

#include <string.h>

/* Names of the API are no longer than labels of the DNS. */
#define KIND_MAX 63

/* Not walked: what is said of an object and not asked of it. */
static bool is_hearsay(const char *key, unsigned depth)
{
    return depth == 0 && (strcmp(key, "metadata") == 0 || strcmp(key, "status") == 0);
}

static bool has_containers(const char *key)
{
    return strcmp(key, "containers") == 0 || strcmp(key, "initContainers") == 0 ||
           strcmp(key, "ephemeralContainers") == 0;
}

static void read_containers(struct reading *r, struct yaml_node *containers)
{
    struct yaml_node *container, *image;
    void *it = NULL;
    while (reading_next(r, containers, &it, &container)) {
        image = reading_find(r, container, "image");
        const char *text = reading_text(r, image);
        /* Istio's injector fills this in when the pod is made. */
        if (text && strcmp(text, "auto") == 0)
            reading_warn(r, reading_place(r, image),
                         "image: auto is filled in when a pod is made; list the image of the "
                         "sidecar itself");
        else if (text && !*text)
            reading_warn(r, reading_place(r, image), "the image is empty here, and is filled in when a pod is made");
        else if (image)
            reading_add_node(r, image, NULL);
    }
}

/* volumes: [{name: x, image: {reference: IMAGE}}] */
static void read_volumes(struct reading *r, struct yaml_node *volumes)
{
    struct yaml_node *volume;
    void *it = NULL;
    while (reading_next(r, volumes, &it, &volume)) {
        struct yaml_node *reference = reading_find(r, reading_find(r, volume, "image"), "reference");
        if (reference)
            reading_add_node(r, reference, NULL);
    }
}

static void walk(struct reading *r, struct yaml_node *node, unsigned depth)
{
    struct yaml_node *value;
    const char *key;
    void *it = NULL;
    if (depth == READING_DEPTH_MAX)
        return;
    while (reading_next_pair(r, node, &it, &key, &value)) {
        if (is_hearsay(key, depth))
            continue;
        if (has_containers(key))
            read_containers(r, value);
        else if (strcmp(key, "volumes") == 0)
            read_volumes(r, value);
        walk(r, value, depth + 1);
    }
    it = NULL;
    while (reading_next(r, node, &it, &value))
        walk(r, value, depth + 1);
}

/* `inherited`: the kind of a member of a list, of which the API server says it for the list only; or "". */
static void read_object(struct reading *r, struct yaml_node *object, const char *inherited, unsigned depth)
{
    const char *named = reading_find_text(r, object, "kind"), *kind = named ? named : inherited;
    char of_items[KIND_MAX + 1] = "";
    struct yaml_node *items = reading_find(r, object, "items"), *item;
    void *it = NULL;
    if (yaml_kind(object) == YAML_NULL || depth == READING_DEPTH_MAX)
        return;
    if (yaml_kind(object) != YAML_MAP || !*kind) {
        reading_error(r, reading_place(r, object), "a Kubernetes object is expected here, and it has a kind");
        return;
    }
    size_t len = strlen(kind);
    if (len >= 4 && len <= KIND_MAX && strcmp(kind + len - 4, "List") == 0 && yaml_kind(items) == YAML_LIST) {
        memcpy(of_items, kind, len - 4);
        while (reading_next(r, items, &it, &item))
            read_object(r, item, of_items, depth + 1);
    } else if (strcmp(kind, "CustomResourceDefinition") != 0) { /* they only say what may be */
        fields_read(r, object, kind);
        walk(r, object, 0);
    }
}

void read_kubernetes(struct reading *r, struct yaml_node *root)
{
    struct yaml_node *item;
    void *it = NULL;
    if (yaml_kind(root) != YAML_LIST) {
        read_object(r, root, "", 0);
        return;
    }
    while (reading_next(r, root, &it, &item))
        read_object(r, item, "", 0);
}
