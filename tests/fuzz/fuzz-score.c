/* Score files up to the project: valid, or faults that all have a place, a stage and a message. What is
 * valid is still valid when it is written as JSON and read again, and gives the same order. */
#undef NDEBUG
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/glue/json.h"
#include "orchestrator/spec/render.h"
#include "orchestrator/spec/score.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_faults(const SpecFaults *faults) {
        assert(faults->n_items > 0 && faults->n_items <= LIMIT_SPEC_FAULTS);
        for (size_t i = 0; i < faults->n_items; i++) {
                const SpecFault *fault = &faults->items[i];

                assert(fault->stage == faults->items[0].stage);
                assert(fault->line > 0 && fault->column > 0);
                assert(*fault->message && utf8_valid(fault->message, strlen(fault->message)));
                assert(utf8_valid(fault->path, strlen(fault->path)));
                assert(!fault->hint || utf8_valid(fault->hint, strlen(fault->hint)));
        }
}

static char *order_of(ScoreDocument *d) {
        auto_cleanup(score_project_freep) ScoreProject *p = NULL;
        SpecFaults faults = { 0 };
        auto_strbuf b = { 0 };

        if (score_project_make(&d, 1, &p, &faults, NULL) < 0) {
                check_faults(&faults);
                spec_faults_done(&faults);
                return NULL;
        }
        for (size_t i = 0; i < p->n_resources; i++)
                strbuf_addf(&b, "%s\n", p->resources[i].key);
        return strbuf_take(&b);
}

static void check_valid(ScoreDocument *d) {
        auto_cleanup(freep) char *text = json_compact(d->json), *text_again = NULL, *order = NULL,
                                 *order_again = NULL;
        json_auto_t *rendered = NULL;
        SpecFaults faults = { 0 };
        ScoreDocument *again = NULL;
        int r;

        assert(d->workload && strlen(d->workload) >= 2);
        r = score_render(d, NULL, &rendered, &faults);
        assert(r == 0 || r == -EINVAL);
        spec_faults_done(&faults);
        r = score_document_load("again", text, strlen(text), NULL, &again, &faults, NULL, NULL);
        if (strlen(text) <= LIMIT_SPEC_FILE_BYTES) {
                assert(r == 0 && faults.n_items == 0);
                text_again = json_compact(again->json);
                assert(strcmp(text, text_again) == 0);
        }
        order = order_of(d);
        if (again) {
                order_again = order_of(again);
                assert(streq_null(order, order_again));
        }
        spec_faults_done(&faults);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        SpecFaults faults = { 0 }, notices = { 0 };
        ScoreDocument *d = NULL;
        json_t *json;
        int r;

        r = score_document_load("fuzz", (const char *) data, size, NULL, &d, &faults, &notices,
                                NULL);
        if (r < 0) {
                assert(r == -EINVAL);
                check_faults(&faults);
        } else {
                assert(faults.n_items == 0);
                check_valid(d);
        }
        json = spec_faults_to_json(&faults);
        assert(json);
        json_decref(json);
        spec_faults_done(&faults);
        spec_faults_done(&notices);
        return 0;
}
