/* What a folder takes on the disk. */
#pragma once

#include "providers/sdk/sdk.h"

/* The answer to "usage": one item {"uid","bytes","files"}. Links are not followed; a file with several
 * names counts once for each. An absent folder takes nothing. */
int usage_report(SdkCall *call, const char *path, Error *reterr);
