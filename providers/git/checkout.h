/* The type "checkout": STATE/worktrees/UID, the files of one commit, without a .git. */
#pragma once

#include "providers/sdk/sdk.h"

int checkout_provision(SdkCall *call, Error *reterr);
int checkout_inspect(SdkCall *call, Error *reterr);
int checkout_deprovision(SdkCall *call, Error *reterr);
int checkout_usage(SdkCall *call, Error *reterr);
int checkout_list(SdkCall *call, Error *reterr);
