/* How the engine reads a checkout: beneath its folder, never through a link that leaves it. */
#pragma once

#include "orchestrator/engine/engine.h"

extern const EngineFiles checkout_files;
