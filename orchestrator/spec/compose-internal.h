/* The parts of the Compose reader: compose.c (services, their kinds and order), compose-service.c (keys
 * of one service), compose-mount.c (volumes and files), compose-environment.c, compose-text.c. */
#pragma once

#include "orchestrator/glue/yaml.h"
#include "orchestrator/spec/compose.h"

typedef enum Verdict {
        HONOURED,
        CHANGED,
        LEFT_OUT,
        REFUSED,
        _VERDICT_MAX,
} Verdict;

typedef struct Service {
        const char *name;
        YamlPlace place;
        const YamlNode *node;
        bool left_out;             /* profiles: never started */
        const char *type;          /* what it becomes as a resource, NULL: a workload */
        bool ends;                 /* someone waits for its end: a container of that one */
        size_t owner;              /* index of the service in whose document its container stands */
        char *folder;              /* in the checkout, "" for the top */
        json_t *document;          /* Score; owned */
        json_t *container;         /* borrowed from a document */
        json_t *settings, *places; /* owned */
} Service;

typedef struct Compose {
        const ComposeRequest *request;
        YamlTree *tree;
        YamlNode *root;
        Service *services;
        size_t n_services;
        json_t *report;
        bool no_memory; /* checked at the end of each step */
} Compose;

/* compose.c */
void compose_say(Compose *c, YamlPlace place, const char *path, Verdict verdict, const char *fmt,
                 ...) __attribute__((format(printf, 5, 6)));
/* As many faults as are kept: reading on would only cost time. */
bool compose_full(const Compose *c);
Service *compose_find(const Compose *c, const char *name);
/* Takes value over. */
void compose_set(Compose *c, json_t *object, const char *key, json_t *value);
/* object[key], made as an object when it is not there; borrowed. */
json_t *compose_object(Compose *c, json_t *object, const char *key);
/* Remembers where a part of the Score document comes from. */
void compose_place(Compose *c, Service *s, const char *pointer, YamlPlace place);
/* Declares a resource in the document of the service; id NULL: its own. */
void compose_resource(Compose *c, Service *s, const char *name, const char *type, const char *id);
/* "text" as a name that Score takes: lower case, inner "-", 2 to 63 characters; owned. */
char *compose_label(const char *text);

/* compose-service.c */
void compose_service(Compose *c, Service *s);
void compose_resource_service(Compose *c, Service *s);
bool service_is_built(const Service *s);
char *service_folder(Compose *c, const Service *s);
/* compose-mount.c */
void compose_volumes(Compose *c, Service *s, const YamlNode *value, const char *path);
void compose_tmpfs(Compose *c, Service *s, const YamlNode *value, const char *path);
void compose_secrets(Compose *c, Service *s, const YamlNode *value, const char *path);
void compose_configs(Compose *c, Service *s, const YamlNode *value, const char *path);
/* compose-environment.c */
void compose_environment(Compose *c, Service *s, const YamlNode *value, const char *path);
void compose_env_file(Compose *c, Service *s, const YamlNode *value, const char *path);

/* compose-text.c: a scalar as text with its variables put in; owned, NULL for what is no scalar. Says
 * what it changed when path is given. */
char *compose_text(Compose *c, const YamlNode *node, const char *path);
/* A list of texts from a list, or from one text when it may be alone. Owned array, NULL after saying
 * what is wrong. */
json_t *compose_texts(Compose *c, const YamlNode *node, const char *path);
/* A command line as Compose splits it: words, quotes and backslashes, no shell. -EINVAL: a quote is
 * open. */
int compose_split(const char *line, json_t **ret);
/* "512m", "1gb", "1024": -EINVAL for anything else. */
int compose_bytes(const char *text, int64_t *ret);
/* "0.5", ".5", "2" CPUs in thousandths. */
int compose_cpus(const char *text, int64_t *ret);
/* Variables put in; *ret_missing is the name of the first one that has no default (owned) or NULL;
 * -EINVAL with a sentence for "${VAR:?...}" and for what is not closed. */
int compose_interpolate(const char *text, char **ret, char **ret_missing, Error *reterr);
