/* Addresses that follow from the request alone: service, service-port, dns, route. */
#pragma once

#include "providers/sdk/sdk.h"

int address_service(SdkCall *call, Error *reterr);
int address_service_port(SdkCall *call, Error *reterr);
int address_dns(SdkCall *call, Error *reterr);
int address_route(SdkCall *call, Error *reterr);
