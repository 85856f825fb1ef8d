#include "orchestrator/gateway/haproxy.h"
int haproxy_new(const GatewaySetup *setup, Sites *sites, const Address *door, Haproxy **ret,
                Error *reterr) {
        return error_set(reterr, -ENOSYS, "HAProxy is not supported yet");
}
Haproxy *haproxy_free(Haproxy *h) {
        return NULL;
}
void haproxy_stop(Haproxy *h) {
}
uint16_t haproxy_port(const Haproxy *h) {
        return 0;
}
void haproxy_site_changed(Haproxy *h, const char *host) {
}
int haproxy_activity(Haproxy *h, const char *host, HaproxyActivityFunc done, void *userdata) {
        return -ENOSYS;
}
