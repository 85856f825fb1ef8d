/* Types whose outputs follow from the request alone: nothing is made in the world, so what there is to
 * inspect and remove is the state that provision returned. */
#pragma once

#include "providers/sdk/sdk.h"

/* Sets the state that says which resource the outputs were computed for. */
int computed_provision(SdkCall *call, json_t *outputs, Error *reterr);
int computed_inspect(SdkCall *call, Error *reterr);
int computed_deprovision(SdkCall *call, Error *reterr);
/* Nothing, and all of it. */
int computed_list(SdkCall *call, Error *reterr);
