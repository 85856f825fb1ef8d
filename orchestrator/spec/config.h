/* mayflyd.yaml: what an admin says. Strict: an unknown key is a fault with a suggestion, and the caller
 * keeps the configuration it had when a new one has faults. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "orchestrator/base/error.h"
#include "orchestrator/spec/fault.h"

/* One rule: which provider serves a resource. It matches when everything it names is equal (the branch:
 * when the pattern matches). Of several that match, compare what they name in the order trust, project,
 * branch (an exact name before a pattern), id, class: the first of these that only one of two
 * definitions names decides for that one. What a branch cannot choose thus always outweighs what it can
 * (id and class stand in its file). When both name the same, an admin's wins over a built-in one; two of
 * the admin's that name the same and can match the same resource are a fault at load. */
typedef struct Definition {
        char *name;                         /* "builtin:volume" or the admin's name */
        char *type;                         /* required */
        char *class, *id, *project, *trust; /* NULL: any */
        char *branch; /* shell pattern (fnmatch(3), "*" also matches "/"), NULL: any */
        char *provider;
        json_t *params;      /* object: fixed values; a file that says something else has a fault */
        json_t *defaults;    /* object: what holds when the file does not say it */
        json_t *bounds;      /* object: param -> {"min","max","one_of"} */
        json_t *config;      /* object for the provider */
        int64_t deadline_ms; /* 0: default */
        unsigned line;       /* in mayflyd.yaml; 0 for built-in ones */
} Definition;

typedef struct ConfigClocks { /* milliseconds; 0 switches a clock off, -1 is "not said" */
        int64_t sleep_after_idle, delete_after_asleep, delete_after_age, delete_after_close;
} ConfigClocks;

typedef struct Config {
        char *domain;       /* "preview.localhost" */
        char *listen;       /* the door: "127.0.0.1:8150" */
        char *front;        /* "door" or "haproxy" */
        char *front_listen; /* HAProxy's own address, "127.0.0.1:8200"; NULL with the door */
        bool front_beyond_loopback; /* the door may listen beyond loopback, said in plain words */
        ConfigClocks clocks;        /* defaults for projects: 30m, 7d, 21d, 1h */
        ConfigClocks clocks_max;    /* bounds for mayfly.yaml's wishes and `extend`; -1: none */
        json_t *values;    /* object: PROJECT or "*" -> {NAME: value}: the "environment" type */
        json_t *providers; /* object: provider name -> {"path", "config": {...}} */
        json_t *projects;  /* object: PROJECT -> {"team","owner","clocks":{...}} */
        Definition *definitions; /* built-in ones first */
        size_t n_definitions;
} Config;

/* What holds without any file. */
int config_default(Config **ret, Error *reterr);
/* Reads the text of mayflyd.yaml on top of the defaults; -EINVAL with faults. */
int config_parse(const char *file, const char *text, size_t size, Config **ret, SpecFaults *faults,
                 Error *reterr);
Config *config_free(Config *c);

/* The definition for one resource: the most specific wins. class NULL is "default". -ENOENT with a
 * sentence that lists what is served. *ret_why is one owned line. */
int config_match(const Config *c, const char *type, const char *class, const char *id,
                 const char *project, const char *branch, const char *trust, const Definition **ret,
                 char **ret_why, Error *reterr);
/* True when a definition that the admin or we wrote serves this type for some resource. */
bool config_serves(const Config *c, const char *type);
/* Names the fault of two definitions that could both win, as *ret_a and *ret_b (borrowed): 1 when there
 * are such, 0 when not. */
int config_find_tie(const Config *c, const Definition **ret_a, const Definition **ret_b);
/* The params (template) of a resource with the definition's fixed values and defaults laid in and its
 * bounds held. -EINVAL with a sentence that names the bound. */
int definition_lay(const Definition *d, const json_t *params, json_t **ret, Error *reterr);
void definition_done(Definition *d);

/* The bound of a clock by its name ("sleep_after_idle"); -1: none. */
int64_t config_clock_max(const Config *c, const char *name);
/* True when a length is beyond a bound; 0, a clock that is off, is beyond any. */
bool config_clock_exceeds(int64_t ms, int64_t max);

DEFINE_CLEANUP(Config *, config_free)
