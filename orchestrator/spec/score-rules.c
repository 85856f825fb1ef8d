/* score.dev/v1b1, read it beside score-v1b1.json. The patterns of the schema are the small functions
 * first: their anchors are absolute, so a trailing newline never passes, and a digit is 0 to 9. */
#include "orchestrator/spec/score-rules.h"

#include "orchestrator/base/str.h"

/* ---- patterns ---- */

static bool is_lower_alnum(char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_alnum(char c) {
        return is_lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

/* [a-z0-9][a-z0-9-]{0,61}[a-z0-9] over n bytes */
static bool is_label_of(const char *s, size_t n) {
        if (n < 2 || n > 63 || s[0] == '-' || s[n - 1] == '-')
                return false;
        for (size_t i = 0; i < n; i++)
                if (!is_lower_alnum(s[i]) && s[i] != '-')
                        return false;
        return true;
}

static bool is_label(const char *s) {
        return is_label_of(s, strlen(s));
}

static bool is_api_version(const char *s) {
        return streq(s, "score.dev/v1b1");
}

static bool is_type(const char *s) {
        size_t n = strlen(s);

        if (n < 2 || n > 63 || !is_alnum(s[0]) || !is_alnum(s[n - 1]))
                return false;
        for (size_t i = 0; i < n; i++)
                if (!is_alnum(s[i]) && s[i] != '-')
                        return false;
        return true;
}

/* words of a-z and 0-9, joined by any number of "-" or by one "." */
static bool is_id(const char *s) {
        for (;;) {
                if (!is_lower_alnum(*s))
                        return false;
                while (is_lower_alnum(*s))
                        s++;
                if (!*s)
                        return true;
                if (*s == '.')
                        s++;
                else if (*s != '-')
                        return false;
                else
                        s += strspn(s, "-");
        }
}

/* [prefix/]name: the prefix is LABELs joined by ".", the name 2 to 63 of A-Z a-z 0-9 . _ - */
static bool is_annotation_key(const char *s) {
        const char *slash = strchr(s, '/'), *name = slash ? slash + 1 : s;
        size_t n = strlen(name);

        for (const char *label = s; slash && label < slash;) {
                size_t size = strcspn(label, "./");

                if (!is_label_of(label, size))
                        return false;
                label += size;
                if (*label == '.' && ++label == slash)
                        return false;
        }
        if (slash == s || n < 2 || n > 63 || !is_alnum(name[0]) || !is_alnum(name[n - 1]))
                return false;
        for (size_t i = 0; i < n; i++)
                if (!is_alnum(name[i]) && !strchr("._-", name[i]))
                        return false;
        return true;
}

static const char digits[] = "0123456789";

/* \d+(m|\.\d+)? */
static bool is_cpu(const char *s) {
        size_t n = strspn(s, digits);

        s += n;
        if (n == 0 || !*s)
                return n > 0;
        if (streq(s, "m"))
                return true;
        n = strspn(s + 1, digits);
        return *s == '.' && n > 0 && !s[1 + n];
}

/* (0\.\d+|[1-9]\d*(\.\d+)?)(K|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)? */
static bool is_memory(const char *s) {
        size_t n = strspn(s, digits), fraction = 0;
        bool zero = *s == '0';

        if (n == 0 || (zero && n > 1))
                return false;
        s += n;
        if (*s == '.') {
                fraction = strspn(s + 1, digits);
                if (fraction == 0)
                        return false;
                s += 1 + fraction;
        }
        if (zero && fraction == 0)
                return false;
        return !*s || (strchr("KMGTPE", *s) && (!s[1] || streq(s + 1, "i")));
}

/* 0?[0-7]{3} */
static bool is_mode(const char *s) {
        size_t n = strspn(s, "01234567");

        return !s[n] && (n == 3 || (n == 4 && s[0] == '0'));
}

static bool is_variable(const char *s) {
        return *s && !strchr(s, '=');
}

static bool is_header(const char *s) {
        const char *start = s;

        while (is_alnum(*s) || *s == '_' || *s == '-')
                s++;
        return s > start && !*s;
}

char *score_suggest_label(const char *s) {
        auto_strbuf b = { 0 };
        char *label;

        for (; *s; s++) {
                char c = *s >= 'A' && *s <= 'Z' ? (char) (*s - 'A' + 'a') : *s;

                if (is_lower_alnum(c))
                        strbuf_addc(&b, c);
                else if (b.size > 0 && b.text[b.size - 1] != '-')
                        strbuf_addc(&b, '-');
        }
        while (b.size > 0 && b.text[b.size - 1] == '-')
                b.text[--b.size] = 0;
        label = strbuf_take(&b);
        if (label && is_label(label))
                return label;
        free(label);
        return NULL;
}

/* ---- small things ---- */

#define LABEL_HINT "2 to 63 of a-z, 0-9 and '-', with a letter or digit first and last"
#define TYPE_HINT  "2 to 63 letters, digits and '-', with a letter or digit first and last"

static const Rule any = { RULE_ANY };
static const Rule boolean = { RULE_BOOLEAN, .hint = "write true or false" };
static const Rule text = { RULE_TEXT };
static const Rule some_text = { RULE_TEXT, .min = 1, .hint = "it must not be empty" };
static const Rule texts = { RULE_LIST, .items = &text,
                            .hint = "write a list of strings: [\"a\", \"b\"]" };
static const Rule command = {
        RULE_LIST, .items = &text,
        .hint = "write a list: [\"sh\", \"-c\", \"...\"]; no shell splits it"
};
static const Rule port = { RULE_INTEGER, "a port", "a number from 1 to 65535", 1, 65535 };
static const Rule free_map = { RULE_MAP, .keys = &text, .items = &any, .hint = "write KEY: VALUE" };

static const Rule annotation_key = {
        RULE_TEXT,
        "an annotation key",
        "an optional lower-case host name and '/', then 2 to 63 letters, digits, '.', '_', '-'",
        2,
        316,
        is_annotation_key,
};
static const Rule annotations = { RULE_MAP, "annotations", "write KEY: \"VALUE\"",
                                  .keys = &annotation_key, .items = &text };

/* ---- service ---- */

static const char *const protocols[] = { "TCP", "UDP", NULL };
static const Rule protocol = { RULE_TEXT, "a protocol", .choices = protocols };

static const Field service_port_fields[] = {
        { "port", &port, .required = true, "the port that others see: port: 8080" },
        { "targetPort", &port },
        { "protocol", &protocol },
        { NULL },
};
static const Mistake service_port_mistakes[] = {
        { "containerPort", "the port inside the container is targetPort" },
        { "target", "the port inside the container is targetPort" },
        { NULL },
};
static const Rule service_port = { RULE_FIELDS, "a service port", "write {port: 8080}",
                                   .fields = service_port_fields,
                                   .mistakes = service_port_mistakes };
static const Rule port_name = { RULE_TEXT, "a port name", LABEL_HINT, 2, 63, is_label };
static const Rule service_ports = { RULE_MAP, "ports", "write NAME: {port: 8080}",
                                    .keys = &port_name, .items = &service_port };
static const Field service_fields[] = { { "ports", &service_ports }, { NULL } };
static const Rule service = { RULE_FIELDS, "a service", "write ports: below it",
                              .fields = service_fields };

/* ---- resources ---- */

static const Field resource_metadata_fields[] = { { "annotations", &annotations }, { NULL } };
static const Rule resource_metadata = { RULE_FIELDS, "resource metadata", "write KEY: VALUE",
                                        .fields = resource_metadata_fields, .open = true };
static const Rule resource_type = { RULE_TEXT, "a resource type", TYPE_HINT, 2, 63, is_type };
static const Rule resource_class = { RULE_TEXT, "a resource class", TYPE_HINT, 2, 63, is_type };
static const Rule resource_id = {
        RULE_TEXT,
        "a resource id",
        "2 to 63 of a-z, 0-9, '-' inside words and single dots between them",
        2,
        63,
        is_id
};
static const Field resource_fields[] = {
        { "type", &resource_type, .required = true, "what it is: type: postgres" },
        { "class", &resource_class },
        { "id", &resource_id },
        { "metadata", &resource_metadata },
        { "params", &free_map },
        { NULL },
};
static const Mistake resource_mistakes[] = {
        { "properties",
          "outputs need no declaration since v1b1, leave it out; inputs go below params" },
        { "name", "the key above is its name; an id shared between workloads is id" },
        { "parameters", "inputs are params" },
        { "inputs", "inputs are params" },
        { "annotations", "they go below metadata" },
        { NULL },
};
static const Rule resource = { RULE_FIELDS, "a resource", "write {type: postgres}",
                               .fields = resource_fields, .mistakes = resource_mistakes };
static const Rule resource_name = { RULE_TEXT, "a resource name", LABEL_HINT, 2, 63, is_label };
static const Rule resources = { RULE_MAP, "resources", "write NAME: {type: TYPE}",
                                .keys = &resource_name, .items = &resource };

/* ---- containers ---- */

static const Rule cpu = { RULE_TEXT, "an amount of CPUs", "such as \"2\", \"0.5\" or \"250m\"",
                          .pattern = is_cpu };
static const Rule memory = {
        RULE_TEXT, "an amount of memory",
        "such as \"128M\", \"1.5Gi\" or \"64Ki\": K M G T P E count by 1000, with i by 1024",
        .pattern = is_memory
};
static const Field limits_fields[] = { { "memory", &memory }, { "cpu", &cpu }, { NULL } };
static const Rule limits = { RULE_FIELDS, "limits", "write {cpu: \"250m\", memory: 128M}",
                             .fields = limits_fields };
static const Field container_resources_fields[] = { { "limits", &limits },
                                                    { "requests", &limits },
                                                    { NULL } };
static const Mistake container_resources_mistakes[] = {
        { "cpu", "it goes below limits or requests" },
        { "memory", "it goes below limits or requests" },
        { NULL },
};
static const Rule container_resources = { RULE_FIELDS, "resources of a container",
                                          "write limits: or requests: below it",
                                          .fields = container_resources_fields,
                                          .mistakes = container_resources_mistakes };

static const Rule file_mode = { RULE_TEXT, "a file mode", "three octal digits in quotes: \"0644\"",
                                .pattern = is_mode };
static const Field file_fields[] = {
        { "mode", &file_mode },     { "source", &some_text }, { "content", &text },
        { "binaryContent", &text }, { "noExpand", &boolean }, { NULL },
};
static const Mistake file_mistakes[] = {
        { "target", "the key above is the target" },
        { "path", "the key above is the target path; a file of the branch is source" },
        { NULL },
};
static const char *const file_contents[] = { "content", "binaryContent", "source", NULL };
static const Rule file = { RULE_FIELDS,
                           "a file",
                           "write TARGET: {content: ...}",
                           .fields = file_fields,
                           .exactly_one = file_contents,
                           .mistakes = file_mistakes };
static const Rule files = { RULE_MAP, "files", "write TARGET: {content: ...}", .keys = &text,
                            .items = &file };

static const Field volume_fields[] = {
        { "source", &text, .required = true, "the volume: source: ${resources.NAME}" },
        { "path", &text },
        { "readOnly", &boolean },
        { NULL },
};
static const Mistake volume_mistakes[] = {
        { "read_only", "it is readOnly" },
        { "target", "the key above is the target" },
        { "mountPath", "the key above is the path in the container" },
        { "name",
          "the volume is source: ${resources.NAME}, the key above is the path in the container" },
        { "subPath", "it is path" },
        { NULL },
};
static const Rule volume = { RULE_FIELDS, "a volume",
                             "write TARGET: {source: \"${resources.NAME}\"}",
                             .fields = volume_fields, .mistakes = volume_mistakes };
static const Rule volumes = { RULE_MAP, "volumes", "write TARGET: {source: \"${resources.NAME}\"}",
                              .keys = &text, .items = &volume };

static const char *const readiness[] = { "started", "healthy", "complete", NULL };
static const Rule ready = { RULE_TEXT, "a state to wait for", .choices = readiness };
static const Field before_fields[] = {
        { "ready", &ready, .required = true, "ready: started, healthy or complete" },
        { NULL },
};
static const Rule before_entry = { RULE_FIELDS, "an entry of before",
                                   "write NAME: {ready: started}", .fields = before_fields };
static const Rule container_name = { RULE_TEXT, "a container name", LABEL_HINT, 2, 63, is_label };
static const Rule before = { RULE_MAP, "before", "write NAME: {ready: started}",
                             .keys = &container_name, .items = &before_entry };

static const char *const schemes[] = { "HTTP", "HTTPS", NULL };
static const Rule scheme = { RULE_TEXT, "a scheme", .choices = schemes };
static const Rule header_name = { RULE_TEXT, "a header name", "letters, digits, '_' and '-'",
                                  .pattern = is_header };
static const Field header_fields[] = {
        { "name", &header_name, .required = true, "name: X-Probe" },
        { "value", &some_text, .required = true, "value: \"1\"" },
        { NULL },
};
static const Rule header = { RULE_FIELDS, "a header", "write {name: X-Probe, value: \"1\"}",
                             .fields = header_fields };
static const Rule headers = { RULE_LIST, "headers", "write a list of {name: ..., value: ...}",
                              .items = &header };
static const Field http_probe_fields[] = {
        { "host", &some_text },
        { "scheme", &scheme },
        { "path", &text, .required = true, "path: /healthz" },
        { "port", &port, .required = true, "port: 8080" },
        { "httpHeaders", &headers },
        { NULL },
};
static const Mistake http_probe_mistakes[] = { { "headers", "it is httpHeaders" }, { NULL } };
static const Rule http_probe = { RULE_FIELDS, "an HTTP probe", "write {path: /healthz, port: 8080}",
                                 .fields = http_probe_fields, .mistakes = http_probe_mistakes };
static const Field exec_probe_fields[] = {
        { "command", &command, .required = true, "command: [\"/bin/check\"]" },
        { NULL },
};
static const Rule exec_probe = { RULE_FIELDS, "an exec probe", "write {command: [\"/bin/check\"]}",
                                 .fields = exec_probe_fields };
static const Field probe_fields[] = { { "httpGet", &http_probe },
                                      { "exec", &exec_probe },
                                      { NULL } };
#define NO_TIMING "Score has no timing of probes, leave it out"
static const Mistake probe_mistakes[] = {
        { "initialDelaySeconds", NO_TIMING },
        { "periodSeconds", NO_TIMING },
        { "timeoutSeconds", NO_TIMING },
        { "failureThreshold", NO_TIMING },
        { "successThreshold", NO_TIMING },
        { "tcpSocket", "Score has httpGet and exec only" },
        { "grpc", "Score has httpGet and exec only" },
        { "http", "it is httpGet" },
        { "command", "it goes below exec" },
        { "path", "it goes below httpGet" },
        { "port", "it goes below httpGet" },
        { NULL },
};
static const char *const probe_kinds[] = { "httpGet", "exec", NULL };
static const Rule probe = { RULE_FIELDS,
                            "a probe",
                            "write httpGet: or exec: below it",
                            .fields = probe_fields,
                            .at_least_one = probe_kinds,
                            .mistakes = probe_mistakes };

static const Rule variable_name = { RULE_TEXT, "a variable name", "not empty and without '='", 1,
                                    .pattern = is_variable };
static const Rule variables = { RULE_MAP, "variables",
                                "write NAME: \"VALUE\", without '-' before it",
                                .keys = &variable_name, .items = &text };

static const Field container_fields[] = {
        { "image", &some_text, .required = true,
          "image: . runs the branch's own checkout; another image needs a runtime for images" },
        { "command", &command },
        { "args", &texts },
        { "variables", &variables },
        { "files", &files },
        { "volumes", &volumes },
        { "before", &before },
        { "resources", &container_resources },
        { "livenessProbe", &probe },
        { "readinessProbe", &probe },
        { NULL },
};
static const Mistake container_mistakes[] = {
        { "ports", "ports go below service, at the top of the file" },
        { "env", "it is variables: NAME: \"VALUE\"" },
        { "environment", "it is variables: NAME: \"VALUE\"" },
        { "volumeMounts", "it is volumes: TARGET: {source: \"${resources.NAME}\"}" },
        { "entrypoint", "it is command" },
        { "build", "how a workload is built stands in mayfly.yaml" },
        { "depends_on", "the other container says before: THIS: {ready: started}" },
        { "startupProbe", "Score has livenessProbe and readinessProbe only" },
        { "healthcheck", "it is livenessProbe or readinessProbe" },
        { "limits", "it goes below resources" },
        { "workingDir", "Score has none; programs start in the folder of the Score file" },
        { "replicas", "Score has none" },
        { NULL },
};
static const Rule container = { RULE_FIELDS, "a container", "write image: . below it",
                                .fields = container_fields, .mistakes = container_mistakes };
static const Rule containers = {
        RULE_MAP,           "containers", "write NAME: {image: .}", 1, .keys = &container_name,
        .items = &container
};

/* ---- the document ---- */

static const Rule api_version = { RULE_TEXT, "a version known here", "write score.dev/v1b1",
                                  .pattern = is_api_version };
static const Rule workload_name = { RULE_TEXT, "a workload name", LABEL_HINT, 2, 63, is_label };
static const Field metadata_fields[] = {
        { "name", &workload_name, .required = true, "the workload's name: name: web" },
        { "annotations", &annotations },
        { NULL },
};
static const Rule metadata = { RULE_FIELDS, "metadata", "write name: NAME below it",
                               .fields = metadata_fields, .open = true };
static const Field document_fields[] = {
        { "apiVersion", &api_version, .required = true,
          "begin the file with apiVersion: score.dev/v1b1" },
        { "metadata", &metadata, .required = true, "metadata: {name: NAME}" },
        { "service", &service },
        { "containers", &containers, .required = true, "containers: {main: {image: .}}" },
        { "resources", &resources },
        { NULL },
};
static const Mistake document_mistakes[] = {
        { "kind", "leave it out: a Score file has no kind" },
        { "spec", "take it away: containers, service and resources stand at the top of the file" },
        { "workloads",
          "one Score file is one workload: write a file for each and list them in mayfly.yaml" },
        { "workload", "one Score file is one workload; its name is metadata.name" },
        { "services",
          "this looks like a Compose file; a Score file has containers and one service" },
        { "volumes", "volumes go below a container; declare the volume below resources" },
        { "variables", "it goes below a container" },
        { "name", "it is metadata.name" },
        { "version", "it is apiVersion: score.dev/v1b1" },
        { "ports", "it goes below service" },
        { "container", "it is containers, with a name below it" },
        { NULL },
};
const Rule score_rule = { RULE_FIELDS, "a Score file", "begin with apiVersion: score.dev/v1b1",
                          .fields = document_fields, .mistakes = document_mistakes };
