#include "lists/fields.h"

#include "base/buf.h"

#include <errno.h>
#include <string.h>

#define FIELD_MAX 512

/* Only where the custom resource's own definition says that the field is a whole reference. */
static const char *const known[] = {
    /* Spark operator (sparkoperator.k8s.io) */
    "SparkApplication:.spec.image",
    "SparkApplication:.spec.driver.image",
    "SparkApplication:.spec.executor.image",
    "SparkApplication:.spec.driver.sidecars[].image",
    "SparkApplication:.spec.executor.sidecars[].image",
    "ScheduledSparkApplication:.spec.template.image",
    "ScheduledSparkApplication:.spec.template.driver.image",
    "ScheduledSparkApplication:.spec.template.executor.image",
    "ScheduledSparkApplication:.spec.template.driver.sidecars[].image",
    "ScheduledSparkApplication:.spec.template.executor.sidecars[].image",
    /* Prometheus operator (monitoring.coreos.com) */
    "Prometheus:.spec.image",
    "Prometheus:.spec.thanos.image",
    "PrometheusAgent:.spec.image",
    "Alertmanager:.spec.image",
    "ThanosRuler:.spec.image",
    /* Doris operator (doris.selectdb.com) */
    "DorisCluster:.spec.feSpec.image",
    "DorisCluster:.spec.beSpec.image",
    "DorisCluster:.spec.cnSpec.image",
    "DorisCluster:.spec.brokerSpec.image",
    /* Flink operator (flink.apache.org) */
    "FlinkDeployment:.spec.image",
    /* MinIO operator (minio.min.io) */
    "Tenant:.spec.image",
    "Tenant:.spec.kes.image",
    /* CloudNativePG (postgresql.cnpg.io), Zalando (acid.zalan.do) */
    "Cluster:.spec.imageName",
    "ImageCatalog:.spec.images[].image",
    "ClusterImageCatalog:.spec.images[].image",
    "postgresql:.spec.dockerImage",
    /* RabbitMQ (rabbitmq.com), Vault by Bank-Vaults (vault.banzaicloud.com), OpenTelemetry (opentelemetry.io) */
    "RabbitmqCluster:.spec.image",
    "Vault:.spec.image",
    "OpenTelemetryCollector:.spec.image",
    /* Elastic (k8s.elastic.co) */
    "Elasticsearch:.spec.image",
    "Kibana:.spec.image",
    /* Argo Workflows (argoproj.io); containers of a containerSet and init containers are containers */
    "Workflow:.spec.templates[].container.image",
    "Workflow:.spec.templates[].script.image",
    "Workflow:.spec.templates[].sidecars[].image",
    "WorkflowTemplate:.spec.templates[].container.image",
    "WorkflowTemplate:.spec.templates[].script.image",
    "WorkflowTemplate:.spec.templates[].sidecars[].image",
    "ClusterWorkflowTemplate:.spec.templates[].container.image",
    "ClusterWorkflowTemplate:.spec.templates[].script.image",
    "ClusterWorkflowTemplate:.spec.templates[].sidecars[].image",
    "CronWorkflow:.spec.workflowSpec.templates[].container.image",
    "CronWorkflow:.spec.workflowSpec.templates[].script.image",
    "CronWorkflow:.spec.workflowSpec.templates[].sidecars[].image",
    /* Tekton (tekton.dev) */
    "Task:.spec.steps[].image",
    "Task:.spec.sidecars[].image",
    "ClusterTask:.spec.steps[].image",
    "ClusterTask:.spec.sidecars[].image",
    /* KubeVirt (kubevirt.io) */
    "VirtualMachine:.spec.template.spec.volumes[].containerDisk.image",
    "VirtualMachineInstance:.spec.volumes[].containerDisk.image",
};

const char *field_wrong(const char *field)
{
    const char *colon = strchr(field, ':'), *at = colon ? colon + 1 : "";
    if (!colon || colon == field || *at != '.')
        return "KIND:.PATH is expected, as in SparkApplication:.spec.image";
    if (strlen(field) > FIELD_MAX)
        return "it is longer than 512 characters";
    while (*at == '.') {
        size_t len = strcspn(++at, ".[");
        if (len == 0)
            return "between its dots a key is expected";
        at += len;
        while (strncmp(at, "[]", 2) == 0)
            at += 2;
    }
    return *at ? "behind a key a dot, [], or nothing is expected" : NULL;
}

/* {registry: R, repository: R, tag: T, digest: D}, as Helm's charts and some operators have it. */
static void read_parts(struct reading *r, struct yaml_node *parts)
{
    AUTO_BUF struct buf written = BUF_INIT(4 * KIB);
    const char *registry = reading_find_text(r, parts, "registry"), *tag = reading_find_text(r, parts, "tag"),
               *digest = reading_find_text(r, parts, "digest");
    struct yaml_node *repository = reading_find(r, parts, "repository");
    const char *name = reading_text(r, repository);
    if (!name)
        return;
    bool has_registry = registry && *registry, has_tag = tag && *tag, has_digest = digest && *digest;
    int e = buf_addf(&written, "%s%s%s%s%s%s%s", has_registry ? registry : "", has_registry ? "/" : "", name,
                     has_tag ? ":" : "", has_tag ? tag : "", has_digest ? "@" : "", has_digest ? digest : "");
    if (reading_could(r, reading_place(r, repository), e))
        reading_add(r, reading_place(r, repository), written.data, NULL);
}

static void follow(struct reading *r, struct yaml_node *node, const char *path);

static void follow_members(struct reading *r, struct yaml_node *list, const char *rest)
{
    struct yaml_node *member;
    void *it = NULL;
    while (reading_next(r, list, &it, &member))
        follow(r, member, rest);
}

/* `path` has been checked; a step deeper is a step further in it. */
static void follow(struct reading *r, struct yaml_node *node, const char *path)
{
    if (strncmp(path, "[]", 2) == 0) {
        follow_members(r, node, path + 2);
    } else if (!*path) {
        if (yaml_kind(node) == YAML_MAP)
            read_parts(r, node);
        else if (yaml_kind(node) == YAML_TEXT)
            reading_add_node(r, node, NULL);
    } else if (strncmp(path, ".*", 2) == 0) {
        struct yaml_node *value;
        const char *key;
        void *it = NULL;
        while (reading_next_pair(r, node, &it, &key, &value))
            follow(r, value, path + 2);
    } else {
        char key[FIELD_MAX + 1];
        size_t len = strcspn(path + 1, ".[");
        memcpy(key, path + 1, len);
        key[len] = '\0';
        struct yaml_node *value = reading_find(r, node, key);
        if (value)
            follow(r, value, path + 1 + len);
    }
}

static void read_field(struct reading *r, struct yaml_node *object, const char *kind, const char *field)
{
    size_t len = (size_t)(strchr(field, ':') - field);
    bool is_any = len == 1 && *field == '*';
    if (is_any || (strlen(kind) == len && memcmp(kind, field, len) == 0))
        follow(r, object, field + len + 1);
}

void fields_read(struct reading *r, struct yaml_node *object, const char *kind)
{
    const struct image_list_options *options = image_list_options(r->list);
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        read_field(r, object, kind, known[i]);
    for (size_t i = 0; i < options->field_count; i++)
        read_field(r, object, kind, options->fields[i]);
}
