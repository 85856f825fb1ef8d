/* The four machines. A move that is not in these tables cannot be written: the doors in
 * environments.c, generations.c and resources.c are the only statements that change a state column.
 *
 * environment   wanted --> building --> ready <--> failed     (any of them) --> deleting --> gone
 * level         awake --> falling --> stopped --> waking --> awake
 * generation    wanted --> checkout --> provisioning --> live --> retiring --> removed
 *                  '----------'-------------'--> failed (an end), or retiring when nobody wants it
 * resource      planned --> provisioning --> ready --> falling --> asleep --> waking --> ready
 *                  '------------'--------------'-----------'--> removing --> removed
 *               removing <--> stuck; failed ends only in another try or in removing */
#include "orchestrator/ledger/states.h"

#include <string.h>

#define E(s) (1u << ENV_##s)
static const StateInfo environment_states[_ENV_STATE_MAX] = {
        [ENV_WANTED] = { "wanted", E(BUILDING) | E(FAILED) | E(DELETING) },
        [ENV_BUILDING] = { "building", E(READY) | E(FAILED) | E(DELETING) },
        [ENV_READY] = { "ready", E(FAILED) | E(DELETING) },
        [ENV_FAILED] = { "failed", E(WANTED) | E(BUILDING) | E(READY) | E(DELETING) },
        [ENV_DELETING] = { "deleting", E(GONE) },
        [ENV_GONE] = { "gone", 0 },
};

#define L(s) (1u << LEVEL_##s)
static const StateInfo level_states[_LEVEL_MAX] = {
        /* to waking when what was left asleep beside something that had failed may wake */
        [LEVEL_AWAKE] = { "awake", L(FALLING) | L(WAKING) },
        /* back to awake when a new generation took over, to waking when it would not fall asleep */
        [LEVEL_FALLING] = { "falling", L(STOPPED) | L(WAKING) | L(AWAKE) },
        [LEVEL_STOPPED] = { "stopped", L(WAKING) | L(AWAKE) },
        /* to falling when some of it would not wake: the others must not stay up for nobody */
        [LEVEL_WAKING] = { "waking", L(AWAKE) | L(STOPPED) | L(FALLING) },
};

#define G(s) (1u << GEN_##s)
static const StateInfo generation_states[_GEN_STATE_MAX] = {
        [GEN_WANTED] = { "wanted", G(CHECKOUT) | G(FAILED) | G(RETIRING) },
        [GEN_CHECKOUT] = { "checkout", G(PROVISIONING) | G(FAILED) | G(RETIRING) },
        [GEN_PROVISIONING] = { "provisioning", G(LIVE) | G(FAILED) | G(RETIRING) },
        [GEN_LIVE] = { "live", G(RETIRING) },
        [GEN_FAILED] = { "failed", 0 },
        [GEN_RETIRING] = { "retiring", G(REMOVED) },
        [GEN_REMOVED] = { "removed", 0 },
};

#define R(s) (1u << RES_##s)
static const StateInfo resource_states[_RES_STATE_MAX] = {
        [RES_PLANNED] = { "planned", R(PROVISIONING) | R(FAILED) | R(REMOVING) | R(REMOVED) },
        [RES_PROVISIONING] = { "provisioning", R(READY) | R(FAILED) | R(REMOVING) },
        [RES_READY] = { "ready", R(PROVISIONING) | R(FALLING) | R(FAILED) | R(REMOVING) },
        [RES_FALLING] = { "falling", R(ASLEEP) | R(READY) | R(PROVISIONING) | R(REMOVING) },
        [RES_ASLEEP] = { "asleep", R(WAKING) | R(PROVISIONING) | R(REMOVING) },
        [RES_WAKING] = { "waking",
                         R(READY) | R(ASLEEP) | R(PROVISIONING) | R(FAILED) | R(REMOVING) },
        [RES_FAILED] = { "failed", R(PROVISIONING) | R(REMOVING) | R(REMOVED) },
        [RES_REMOVING] = { "removing", R(REMOVED) | R(STUCK) },
        [RES_STUCK] = { "stuck", R(REMOVING) },
        [RES_REMOVED] = { "removed", 0 },
};

const StateMachine machine_environment = { "environment", environment_states, _ENV_STATE_MAX };
const StateMachine machine_level = { "level", level_states, _LEVEL_MAX };
const StateMachine machine_generation = { "generation", generation_states, _GEN_STATE_MAX };
const StateMachine machine_resource = { "resource", resource_states, _RES_STATE_MAX };

const char *state_name(const StateMachine *m, int state) {
        return state >= 0 && state < m->n_states ? m->states[state].name : NULL;
}

int state_from_name(const StateMachine *m, const char *name) {
        for (int i = 0; name && i < m->n_states; i++)
                if (strcmp(m->states[i].name, name) == 0)
                        return i;
        return -EINVAL;
}

bool state_may_become(const StateMachine *m, int from, int to) {
        return from >= 0 && from < m->n_states && to >= 0 && to < m->n_states &&
               m->states[from].next & 1u << to;
}

const char *env_state_to_string(EnvState s) {
        return state_name(&machine_environment, (int) s);
}

EnvState env_state_from_string(const char *s) {
        return (EnvState) state_from_name(&machine_environment, s);
}

bool env_state_may_become(EnvState from, EnvState to) {
        return state_may_become(&machine_environment, (int) from, (int) to);
}

const char *env_level_to_string(EnvLevel l) {
        return state_name(&machine_level, (int) l);
}

EnvLevel env_level_from_string(const char *s) {
        return (EnvLevel) state_from_name(&machine_level, s);
}

bool env_level_may_become(EnvLevel from, EnvLevel to) {
        return state_may_become(&machine_level, (int) from, (int) to);
}

const char *gen_state_to_string(GenState s) {
        return state_name(&machine_generation, (int) s);
}

GenState gen_state_from_string(const char *s) {
        return (GenState) state_from_name(&machine_generation, s);
}

bool gen_state_may_become(GenState from, GenState to) {
        return state_may_become(&machine_generation, (int) from, (int) to);
}

const char *res_state_to_string(ResState s) {
        return state_name(&machine_resource, (int) s);
}

ResState res_state_from_string(const char *s) {
        return (ResState) state_from_name(&machine_resource, s);
}

bool res_state_may_become(ResState from, ResState to) {
        return state_may_become(&machine_resource, (int) from, (int) to);
}
