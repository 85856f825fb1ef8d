/* Notices when somebody sets the wall clock (timerfd_create(2), TFD_TIMER_CANCEL_ON_SET). */
#pragma once

#include "orchestrator/api/manager.h"

int clock_steps_start(Manager *m, Error *reterr);
void clock_steps_stop(Manager *m);
