/* The reaper's verdicts, asked for and carried out. Facts come from the ledger and, when the clock that
 * has run out needs them, from the front; the judgement is reaper/'s alone. `why`, the dry run and the
 * real run go through reap_judge(). */
#include <stdio.h>

#include "orchestrator/base/time.h"
#include "orchestrator/engine/private.h"

/* What the front could not say, or somebody's open connection, is looked at again after this. */
#define REAP_AGAIN_MS (5 * 60 * 1000)
#define ASK_AGAIN_MS  (60 * 1000)

static void facts_of(Engine *e, const Environment *env, bool under_way,
                     const FrontActivity *activity, ReaperFacts *ret) {
        *ret = (ReaperFacts){
                .awake = env->live_generation > 0 && env->level != LEVEL_STOPPED,
                .busy = under_way || env->level == LEVEL_WAKING || env->level == LEVEL_FALLING ||
                        (env->wake_wanted && env->state == ENV_READY),
                .created_ms = env->created_ms,
                .used_ms = env->used_ms,
                .asleep_ms = env->level == LEVEL_STOPPED ? env->asleep_ms : 0,
                .closed_ms = env->closed_ms,
                .use_known = activity ? activity->known : true,
                .open = activity && activity->known ? activity->open : 0,
                .pinned_until_ms = env->pinned_until_ms,
                .pinned_by = env->pinned_by,
                .pin_reason = env->pin_reason,
                .extended_until_ms = env->extended_until_ms,
                .moves = e->moves,
                .n_moves = e->n_moves,
        };
        ret->freeze_reason = freeze_holds(e, &ret->frozen_until_ms);
        ret->frozen = ret->freeze_reason != NULL;
        if (activity && activity->known && activity->last_visit_ms > 0) {
                int64_t visit = activity->last_visit_ms + e->offset_ms;

                if (visit > ret->used_ms)
                        ret->used_ms = visit < e->now_ms ? visit : e->now_ms;
        }
}

/* activity NULL: judged as if nobody were there, to find the next deadline. */
static int reap_judge(Engine *e, const Environment *env, bool under_way,
                      const FrontActivity *activity, ReaperFacts *facts, ReaperVerdict *ret,
                      Error *reterr) {
        auto_cleanup(project_done) Project project = { 0 };
        ReaperPolicy policy;
        int r;

        r = ledger_project_get(e->ledger, env->project_id, &project, reterr);
        if (r < 0)
                return r;
        policy_of(e, env, &project, &policy);
        facts_of(e, env, under_way, activity, facts);
        reaper_judge(facts, &policy, e->now_ms, ret);
        return 0;
}

/* ---- asking the front ---- */

static void on_activity(void *userdata, const char *environment_id, const FrontActivity *activity) {
        Engine *e = userdata;
        Look *look = look_get(e, environment_id);

        if (!look || !look->asking)
                return;
        look->asking = false;
        look->answered = true;
        look->activity = *activity;
        if (e->asking == look)
                return; /* at once: who asked goes on with it */
        look_mark(e, environment_id);
        e->setup.wanted(e->setup.userdata);
}

/* True when the answer is there. */
static int ask(Engine *e, Look *look, const char *label) {
        auto_cleanup(freep) char *host = NULL;

        if (look->answered && e->now_ms - look->asked_ms < ASK_AGAIN_MS)
                return 1;
        look->answered = false; /* nobody needed it when it came; now it is old */
        if (look->asking && e->now_ms - look->asked_ms < ASK_AGAIN_MS) {
                look_again_at(look, time_add(look->asked_ms, ASK_AGAIN_MS));
                return 0;
        }
        host = environment_host(e, label);
        if (!host)
                return -ENOMEM;
        look->asking = true;
        look->asked_ms = e->now_ms;
        e->asking = look;
        if (!e->setup.front.activity)
                on_activity(e, look->id, &(FrontActivity){ 0 });
        else
                e->setup.front.activity(e->setup.front.userdata, look->id, host, on_activity, e);
        e->asking = NULL;
        if (!look->answered)
                look_again_at(look, time_add(e->now_ms, ASK_AGAIN_MS));
        return look->answered;
}

/* ---- carrying out ---- */

static void set_due(View *v, int64_t due_ms) {
        if (v->env.due_ms == due_ms)
                return;
        v->env.due_ms = due_ms;
        v->changed = true;
}

static int carry_out(View *v, const ReaperVerdict *verdict, Error *reterr) {
        switch (verdict->action) {
        case REAPER_DELETE:
                return environment_delete(v, "reaper", verdict->reason, reterr);
        case REAPER_SLEEP:
                if (v->env.sleep_wanted || v->env.live_generation == 0) {
                        set_due(v, time_add(v->e->now_ms, REAP_AGAIN_MS));
                        return 0;
                }
                v->env.sleep_wanted = true;
                v->changed = v->again = true;
                return 0;
        case REAPER_UNCERTAIN:
                set_due(v, time_add(v->e->now_ms, REAP_AGAIN_MS));
                if (v->look->uncertain)
                        return 0; /* said already */
                v->look->uncertain = true;
                return event_add(v->e, EVENT_ENVIRONMENT_UNCERTAIN, event_of(v), "%s: %s",
                                 v->env.label, verdict->reason);
        default:
                set_due(v, verdict->next_ms);
                return 0;
        }
}

static bool acts(const ReaperVerdict *verdict) {
        return verdict->action == REAPER_DELETE || verdict->action == REAPER_SLEEP;
}

int reap_step(View *v, Error *reterr) {
        bool under_way = view_under_way(v) != NULL;
        ReaperVerdict verdict;
        ReaperFacts facts;
        int r;

        if (v->e->unwell_until_ms > v->e->now_ms) {
                look_again_at(v->look, v->e->unwell_until_ms);
                return 0;
        }
        r = reap_judge(v->e, &v->env, under_way, NULL, &facts, &verdict, reterr);
        if (r < 0)
                return r;
        if (acts(&verdict) && facts.awake) {
                /* Something would happen to it if nobody is there: now it matters whether that is so. */
                r = ask(v->e, v->look, v->env.label);
                if (r < 0)
                        return r;
                if (r == 0)
                        return 0; /* the front's answer marks it again */
                v->look->answered = false;
                r = reap_judge(v->e, &v->env, under_way, &v->look->activity, &facts, &verdict,
                               reterr);
                if (r < 0)
                        return r;
                if (facts.open > 0)
                        facts.used_ms = v->e->now_ms;
                if (facts.used_ms > v->env.used_ms) {
                        v->env.used_ms = facts.used_ms;
                        v->changed = true;
                }
        }
        if (verdict.action != REAPER_UNCERTAIN)
                v->look->uncertain = false;
        if (v->e->hold_until_ms > v->e->now_ms)
                look_again_at(v->look, v->e->hold_until_ms);
        if (verdict.action == REAPER_KEEP && facts.open > 0)
                verdict.next_ms = time_add(v->e->now_ms, REAP_AGAIN_MS);
        return carry_out(v, &verdict, reterr);
}

static int mark_due(void *userdata, const Environment *env) {
        look_mark(userdata, env->id);
        return 0;
}

int reap_due(Engine *e, Error *reterr) {
        return ledger_environment_each_due(e->ledger, e->now_ms, mark_due, e, reterr);
}

/* ---- telling ---- */

static json_t *clock_json(const ReaperVerdict *v, ReaperClockKind kind) {
        const ReaperClock *c = &v->clocks[kind];

        return json_pack("{s:s, s:b, s:I, s:I, s:o, s:s}", "name", reaper_clock_to_string(kind),
                         "running", (int) c->running, "since_ms", (json_int_t) c->since_ms,
                         "length_ms", (json_int_t) c->length_ms, "due_ms",
                         c->due_ms == REAPER_NEVER ? json_null() : json_integer(c->due_ms), "text",
                         c->text);
}

static json_t *verdict_json(const Environment *env, const ReaperVerdict *v) {
        json_t *clocks = json_array(), *gates = json_array();

        for (int i = 0; i < _REAPER_CLOCK_KIND_MAX; i++)
                json_array_append_new(clocks, clock_json(v, i));
        for (int i = 0; i < _REAPER_GATE_MAX; i++)
                json_array_append_new(gates, json_pack("{s:s, s:b, s:o, s:s}", "name",
                                                       reaper_gate_to_string(i), "keeps",
                                                       (int) v->gates[i].keeps, "until_ms",
                                                       v->gates[i].until_ms == REAPER_NEVER
                                                               ? json_null()
                                                               : json_integer(v->gates[i].until_ms),
                                                       "text", v->gates[i].text));
        return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o}", "id", env->id,
                         "environment", env->label, "state", env_state_to_string(env->state),
                         "level", env_level_to_string(env->level), "action",
                         reaper_action_to_string(v->action), "gate", reaper_gate_to_string(v->gate),
                         "reason", v->reason, "next_ms",
                         v->next_ms == REAPER_NEVER ? json_null() : json_integer(v->next_ms),
                         "gates", gates, "clocks", clocks);
}

/* A question to the front that is answered at once or not at all. What the front answers later is
 * dropped; until then the engine keeps the question, so that it ends with the engine. */
struct LateAnswer {
        Engine *e;
        FrontActivity *wanted; /* NULL: whoever asked has gone */
        bool answered;
        LateAnswer *next;
};

static void on_activity_now(void *userdata, const char *environment_id,
                            const FrontActivity *activity) {
        LateAnswer *late = userdata;

        late->answered = true;
        if (late->wanted) {
                *late->wanted = *activity;
                return;
        }
        for (LateAnswer **at = &late->e->late; *at; at = &(*at)->next)
                if (*at == late) {
                        *at = late->next;
                        break;
                }
        free(late);
}

void late_answers_free(Engine *e) {
        while (e->late) {
                LateAnswer *late = e->late;

                e->late = late->next;
                free(late);
        }
}

/* Asks the front and takes only an answer that comes at once; no answer is "not known". */
static FrontActivity activity_now(Engine *e, const Environment *env) {
        auto_cleanup(freep) char *host = environment_host(e, env->label);
        LateAnswer *late = calloc(1, sizeof(LateAnswer));
        FrontActivity activity = { 0 };

        if (!late || !host || !e->setup.front.activity) {
                free(late);
                return activity;
        }
        late->e = e;
        late->wanted = &activity;
        e->setup.front.activity(e->setup.front.userdata, env->id, host, on_activity_now, late);
        late->wanted = NULL;
        if (late->answered) {
                free(late);
                return activity;
        }
        late->next = e->late;
        e->late = late;
        return activity;
}

typedef struct Judged {
        Engine *e;
        json_t *list;
        bool act;
} Judged;

int generation_is_under_way(Engine *e, const Environment *env, bool *ret) {
        auto_cleanup(generation_done) Generation g = { 0 };
        int r = ledger_generation_get(e->ledger, env->id, env->wanted_generation, &g, NULL);

        *ret = r == 0 && generation_under_way(&g) && env->closed_ms == 0;
        return r == -ENOENT ? 0 : r;
}

static int judge_one(Engine *e, const Environment *env, json_t **ret, Error *reterr) {
        FrontActivity activity = activity_now(e, env);
        ReaperVerdict verdict;
        ReaperFacts facts;
        bool under_way;
        int r;

        r = generation_is_under_way(e, env, &under_way);
        if (r == 0)
                r = reap_judge(e, env, under_way, &activity, &facts, &verdict, reterr);
        if (r < 0)
                return r;
        *ret = verdict_json(env, &verdict);
        return *ret ? 0 : -ENOMEM;
}

static int judge_each(void *userdata, const Environment *env) {
        Judged *j = userdata;
        json_t *item;
        int r;

        if (env->state == ENV_DELETING || env->state == ENV_GONE)
                return 0;
        r = judge_one(j->e, env, &item, NULL);
        if (r < 0)
                return r;
        if (j->act)
                look_mark(j->e, env->id);
        return json_array_append_new(j->list, item) < 0 ? -ENOMEM : 0;
}

int engine_reap(Engine *e, const EngineActor *a, const char *environment, bool dry_run,
                json_t **ret_report, Error *reterr) {
        auto_cleanup(environment_done) Environment env = { 0 };
        json_auto_t *list = json_array();
        Judged judged = { .e = e, .list = list, .act = !dry_run };
        int r;

        if (dry_run)
                clock_look(e);
        else
                clock_turn(e);
        if (environment) {
                r = ledger_environment_get(e->ledger, environment, &env, reterr);
                if (r == 0)
                        r = judge_each(&judged, &env);
        } else
                r = ledger_environment_each(e->ledger, NULL, false, judge_each, &judged, reterr);
        if (r < 0)
                return error_set(reterr, r, "The environments cannot be judged");
        if (!dry_run)
                e->setup.wanted(e->setup.userdata);
        if (ret_report)
                *ret_report =
                        json_pack("{s:b, s:O}", "dry_run", (int) dry_run, "environments", list);
        return ret_report && !*ret_report ? -ENOMEM : 0;
}

static void line(json_t *lines, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void line(json_t *lines, const char *fmt, ...) {
        auto_cleanup(freep) char *text = NULL;
        va_list args;

        va_start(args, fmt);
        if (vasprintf(&text, fmt, args) < 0)
                text = NULL;
        va_end(args);
        if (text)
                json_array_append_new(lines, json_string(text));
}

int engine_why(Engine *e, const char *environment, json_t **ret, Error *reterr) {
        auto_cleanup(environment_done) Environment env = { 0 };
        json_t *why, *item, *lines;
        size_t i;
        int r;

        clock_look(e);
        r = ledger_environment_get(e->ledger, environment, &env, reterr);
        if (r < 0)
                return r;
        r = judge_one(e, &env, &why, reterr);
        if (r < 0)
                return r;
        lines = json_array();
        if (env.state == ENV_DELETING || env.state == ENV_GONE)
                line(lines, "%s is %s: %s (%s)", env.label, env_state_to_string(env.state),
                     env.gone_why ? env.gone_why : "no reason noted",
                     env.gone_by ? env.gone_by : "-");
        else
                line(lines, "%s: %s", json_string_value(json_object_get(why, "action")),
                     json_string_value(json_object_get(why, "reason")));
        if (env.cause)
                line(lines, "trouble: %s", env.cause);
        json_array_foreach(json_object_get(why, "gates"), i, item)
                line(lines, "gate %s: %s", json_string_value(json_object_get(item, "name")),
                     json_string_value(json_object_get(item, "text")));
        json_array_foreach(json_object_get(why, "clocks"), i, item)
                line(lines, "clock %s: %s", json_string_value(json_object_get(item, "name")),
                     json_string_value(json_object_get(item, "text")));
        if (json_object_set_new(why, "lines", lines) < 0) {
                json_decref(why);
                return -ENOMEM;
        }
        *ret = why;
        return 0;
}
