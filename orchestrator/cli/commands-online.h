/* The commands that talk to the daemon, one row each in commands.c. */
#pragma once

#include "orchestrator/cli/cli.h"

int command_project_add(Cli *cli);
int command_project_list(Cli *cli);
int command_project_show(Cli *cli);
int command_project_remove(Cli *cli);
int command_up(Cli *cli);
int command_list(Cli *cli);
int command_show(Cli *cli);
int command_logs(Cli *cli);
int command_exec(Cli *cli);
int command_why(Cli *cli);
int command_extend(Cli *cli);
int command_pin(Cli *cli);
int command_unpin(Cli *cli);
int command_sleep(Cli *cli);
int command_wake(Cli *cli);
int command_down(Cli *cli);
int command_retry(Cli *cli);
int command_events(Cli *cli);
int command_reap(Cli *cli);
int command_freeze(Cli *cli);
int command_unfreeze(Cli *cli);
int command_compare(Cli *cli);
int command_orphans(Cli *cli);
int command_receipt(Cli *cli);
int command_backup(Cli *cli);
int command_status(Cli *cli);
int command_hook_install(Cli *cli);
int command_hook_uninstall(Cli *cli);
int command_hook_run(Cli *cli);
