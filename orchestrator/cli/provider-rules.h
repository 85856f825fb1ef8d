/* The rules of kit_type_rules by name, and what they share. */
#pragma once

#include "orchestrator/cli/provider-kit.h"

/* Asks for the list, which the caller owns, and counts the items of uid (NULL: any). */
size_t kit_listed(Kit *kit, const Subject *subject, const char *uid, const json_t **ret,
                  Answer *list);
/* Provisions once more; the outputs must be those of the first time. */
Verdict kit_same_outputs(Kit *kit, const Subject *subject, const json_t *resource,
                         const char *when);
/* An answer to inspect says: present, with the resource's marker. */
Verdict kit_is_there(Kit *kit, const Answer *answer, const json_t *resource, const char *when);

/* provider-rules.c */
Verdict rule_provision(Kit *kit, Subject *subject);
Verdict rule_provision_twice(Kit *kit, Subject *subject);
Verdict rule_inspect(Kit *kit, Subject *subject);
Verdict rule_found_without_memory(Kit *kit, Subject *subject);
Verdict rule_removed_without_memory(Kit *kit, Subject *subject);
Verdict rule_levels(Kit *kit, Subject *subject);
Verdict rule_usage(Kit *kit, Subject *subject);
Verdict rule_deprovision(Kit *kit, Subject *subject);
Verdict rule_never_made(Kit *kit, Subject *subject);
Verdict rule_secrets(Kit *kit, Subject *subject);

/* provider-list.c */
Verdict rule_list(Kit *kit, Subject *subject);
Verdict rule_list_of_others(Kit *kit, Subject *subject);

/* provider-hostile.c */
Verdict rule_invalid_params(Kit *kit, Subject *subject);
Verdict rule_hostile_names(Kit *kit, Subject *subject);
Verdict rule_other_marker(Kit *kit, Subject *subject);

/* provider-faults.c */
Verdict rule_killed_in_answer(Kit *kit, Subject *subject);
Verdict rule_killed_in_work(Kit *kit, Subject *subject);
Verdict rule_removal_killed(Kit *kit, Subject *subject);
Verdict rule_cancelled(Kit *kit, Subject *subject);
Verdict rule_deadline(Kit *kit, Subject *subject);
Verdict rule_nothing_left(Kit *kit, Subject *subject);
