/* What providers write, against the engine: an environment is wanted, and the input answers its calls. It
 * is a row of steps, each a byte that says what happens and the bytes up to the next 0x1e:
 *
 *   0..4  the first call is answered with these bytes (bit 3: the world did what was asked)
 *   5     time passes     6  the daemon is killed and started     7  somebody wants something
 *
 * Afterwards every provider is honest again, the environment is deleted, and must be gone in the end. */
#include "tests/fuzz/lent.h"

#define STEPS 60

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void somebody(Fixture *f, unsigned what) {
        FrontEvents front = engine_front_events(f->engine);
        auto_cleanup(environment_done) Environment env = { 0 };

        get(f, "login", &env);
        switch (what) {
        case 0:
                front.on_visit(front.userdata, env.id);
                break;
        case 1:
                front.on_refused(front.userdata, env.id);
                break;
        case 2:
                (void) engine_sleep(f->engine, NULL, env.id, NULL);
                break;
        case 3:
                (void) engine_retry(f->engine, NULL, env.id, NULL);
                break;
        case 4:
                (void) engine_down(f->engine, NULL, env.id, NULL);
                break;
        default:
                (void) engine_push(f->engine, NULL, "shop", "login",
                                   what == 5   ? B_COMMIT
                                   : what == 6 ? D_COMMIT
                                               : E_COMMIT,
                                   NULL, NULL);
        }
}

static void step(Fixture *f, uint8_t what, const uint8_t *data, size_t size) {
        switch (what & 7) {
        case 5:
                pass(f, (int64_t) (what >> 3) * MS_PER_MINUTE);
                break;
        case 6:
                daemon_killed(f);
                daemon_up(f);
                break;
        case 7:
                somebody(f, (what >> 3) & 7);
                break;
        default:
                if (f->first)
                        answer_first_with(f, (const char *) data, size, what & 8);
        }
        turns(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        auto_cleanup(environment_done) Environment env = { 0 };
        int64_t bad = -1;
        void *state;
        Fixture *f;

        f = lent_world();
        push(f, "login", A_COMMIT);
        turns(f);
        for (unsigned n = 0; size > 0 && n < STEPS; n++) {
                const uint8_t *end = memchr(data + 1, 0x1e, size - 1);
                size_t length = end ? (size_t) (end - data) - 1 : size - 1;

                step(f, *data, data + 1, length);
                data += length + 1 + (end != NULL);
                size -= length + 1 + (end != NULL);
        }
        settle(f);
        get(f, "login", &env);
        assert(engine_down(f->engine, NULL, env.id, NULL) == 0);
        spend(f, 50 * MS_PER_HOUR); /* also what was stuck has been tried again twice */
        environment_done(&env);
        get(f, "login", &env);
        assert(env.state == ENV_GONE);
        assert(ledger_verify_events(f->ledger, &bad, NULL) == 0 && bad == 0);
        state = f;
        assert(tear_down(&state) == 0);
        return 0;
}
