/* The rules of kit_type_rules by name, and what they share. */
#pragma once

#include "orchestrator/cli/provider-kit.h"

/* Asks for the list, which the caller owns, and counts the items of uid (NULL: any). */
size_t kit_listed(Kit *kit, Subject *subject, const char *uid, const json_t **ret, Answer *list);

/* provider-rules.c */
Verdict rule_provision(Kit *kit, Subject *subject);
Verdict rule_provision_twice(Kit *kit, Subject *subject);
Verdict rule_inspect(Kit *kit, Subject *subject);
Verdict rule_list(Kit *kit, Subject *subject);
Verdict rule_list_of_others(Kit *kit, Subject *subject);
Verdict rule_levels(Kit *kit, Subject *subject);
Verdict rule_usage(Kit *kit, Subject *subject);
Verdict rule_deprovision(Kit *kit, Subject *subject);
Verdict rule_never_made(Kit *kit, Subject *subject);
Verdict rule_secrets(Kit *kit, Subject *subject);

/* provider-faults.c */
Verdict rule_invalid_params(Kit *kit, Subject *subject);
Verdict rule_other_marker(Kit *kit, Subject *subject);
Verdict rule_killed_in_answer(Kit *kit, Subject *subject);
Verdict rule_killed_in_work(Kit *kit, Subject *subject);
Verdict rule_removal_killed(Kit *kit, Subject *subject);
Verdict rule_cancelled(Kit *kit, Subject *subject);
Verdict rule_deadline(Kit *kit, Subject *subject);
Verdict rule_nothing_left(Kit *kit, Subject *subject);
