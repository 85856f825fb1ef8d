/* The environment is exact: git reads its configuration from the mirror's own file, which we wrote, and
 * from these variables. Passwords go through the environment, never through argv.
 *
 * Keys of the provider's config that end up here: "authorization" {HOST: "Basic ..."} for https,
 * "ca_file", "https_proxy", "ssh_key", "ssh_known_hosts", "ssh_program". */
#include "providers/git/run.h"

#include <limits.h>
#include <string.h>
#include <sys/wait.h>

#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/glue/child.h"
#include "providers/git/tree.h"

static const char *const environment[] = {
        "PATH=/usr/local/bin:/usr/bin:/bin",
        "HOME=/nonexistent",
        "LC_ALL=C",
        "GIT_CONFIG_NOSYSTEM=1",
        "GIT_CONFIG_SYSTEM=/dev/null",
        "GIT_CONFIG_GLOBAL=/dev/null",
        "GIT_ATTR_NOSYSTEM=1",
        "GIT_TERMINAL_PROMPT=0",
        "GIT_ASKPASS=/bin/false",
        "SSH_ASKPASS=/bin/false",
        "SSH_ASKPASS_REQUIRE=never",
        "GIT_ALLOW_PROTOCOL=https:ssh",
        "GIT_PROTOCOL_FROM_USER=0",
        "GIT_NO_REPLACE_OBJECTS=1",
        "GIT_NO_LAZY_FETCH=1",
        "GIT_OPTIONAL_LOCKS=0",
        "GIT_SSH_VARIANT=ssh",
};

static int env_add(char ***env, const char *name, const char *value) {
        auto_cleanup(freep) char *line = value ? str_format("%s=%s", name, value) : NULL;

        if (!value)
                return 0;
        return line ? strv_add(env, line) : -ENOMEM;
}

/* GIT_SSH_COMMAND is read by a shell: each word in single quotes. */
static void quoted_add(StrBuf *text, const char *word) {
        strbuf_add(text, " '");
        for (; *word; word++)
                if (*word == '\'')
                        strbuf_add(text, "'\\''");
                else
                        strbuf_addc(text, *word);
        strbuf_addc(text, '\'');
}

static int env_add_ssh(const SdkCall *call, char ***env) {
        const char *key = sdk_string(call->config, "ssh_key", NULL),
                   *hosts = sdk_string(call->config, "ssh_known_hosts", NULL);
        auto_strbuf text = { 0 };

        strbuf_add(&text, "exec");
        quoted_add(&text, sdk_string(call->config, "ssh_program", "ssh"));
        strbuf_add(&text, " -oBatchMode=yes -oStrictHostKeyChecking=yes");
        if (key) {
                strbuf_add(&text, " -F /dev/null -oIdentitiesOnly=yes -i");
                quoted_add(&text, key);
        }
        if (hosts) {
                auto_cleanup(freep) char *option = str_format("-oUserKnownHostsFile=%s", hosts);

                if (!option)
                        return -ENOMEM;
                quoted_add(&text, option);
        }
        return text.broken ? -ENOMEM : env_add(env, "GIT_SSH_COMMAND", text.text);
}

static int env_add_authorization(const SdkCall *call, char ***env) {
        const json_t *hosts = json_object_get(call->config, "authorization"), *value;
        auto_cleanup(freep) char *count = NULL;
        const char *host;
        unsigned n = 0;
        int r;

        json_object_foreach((json_t *) hosts, host, value) {
                auto_cleanup(freep) char *key_name = str_format("GIT_CONFIG_KEY_%u", n);
                auto_cleanup(freep) char *value_name = str_format("GIT_CONFIG_VALUE_%u", n);
                auto_cleanup(freep) char *key = str_format("http.https://%s/.extraHeader", host);
                auto_cleanup(freep) char *header = NULL;

                if (!json_is_string(value))
                        continue;
                header = str_format("Authorization: %s", json_string_value(value));
                if (!key_name || !value_name || !key || !header)
                        return -ENOMEM;
                r = env_add(env, key_name, key);
                if (r == 0)
                        r = env_add(env, value_name, header);
                if (r < 0)
                        return r;
                n++;
        }
        count = str_format("%u", n);
        return count ? env_add(env, "GIT_CONFIG_COUNT", count) : -ENOMEM;
}

static int env_make(const Git *git, char ***ret) {
        const json_t *config = git->call->config;
        auto_cleanup(strv_freep) char **env = NULL;
        int r = 0;

        for (size_t i = 0; r == 0 && i < N_ELEMENTS(environment); i++)
                r = strv_add(&env, environment[i]);
        if (r == 0)
                r = env_add(&env, "GIT_DIR", git->git_dir);
        if (r == 0)
                r = env_add(&env, "GIT_WORK_TREE", git->work_tree);
        if (r == 0)
                r = env_add(&env, "GIT_INDEX_FILE", git->index);
        if (r == 0)
                r = env_add(&env, "GIT_SSL_CAINFO", sdk_string(config, "ca_file", NULL));
        if (r == 0)
                r = env_add(&env, "https_proxy", sdk_string(config, "https_proxy", NULL));
        if (r == 0 && !git->anonymous)
                r = env_add_ssh(git->call, &env);
        if (r == 0 && !git->anonymous)
                r = env_add_authorization(git->call, &env);
        if (r < 0)
                return r;
        *ret = TAKE(env);
        return 0;
}

int git_run(const Git *git, const char *const *argv, size_t max, char **ret_out, Error *reterr) {
        auto_cleanup(strv_freep) char **env = NULL;
        auto_cleanup(freep) char *out = NULL, *err = NULL;
        int64_t left = sdk_time_left(git->call);
        char words[512], how[64];
        int r, status;

        r = env_make(git, &env);
        if (r < 0)
                return r;
        r = child_run_with((char *const *) argv, env, CHILD_OUR_GROUP | CHILD_DIE, NULL, max,
                           left > INT_MAX ? 0 : (int) left, &out, &err, &status, reterr);
        if (r < 0)
                return r;
        if (status != 0) {
                git_words(err, words, sizeof(words));
                return error_set(reterr, git_meaning(err), "%s",
                                 *words ? words : child_status_format(status, how));
        }
        if (ret_out)
                *ret_out = TAKE(out);
        return 0;
}
