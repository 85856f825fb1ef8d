/* The ports of the bridge. A port's alias is "MARKER NUMBER": whose it is, and which address of the subnet
 * its network has. The number is the resource's slot, which the ledger makes unique among what it
 * knows; a network that it does not know (its ledger was put back) may have it as well, and then the
 * new one takes another number: two networks never have one address. A number that was taken stays. */
#include <arpa/inet.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/str.h"
#include "providers/process/bridge.h"

int port_alias(const char *device, char **ret_marker, int64_t *ret_number) {
        auto_cleanup(freep) char *alias = NULL;
        char path[96], *space;
        uint64_t number = 0;
        int r;

        snprintf(path, sizeof(path), "/sys/class/net/%s/ifalias", device);
        r = read_file(path, 4096, &alias, NULL, NULL);
        if (r < 0)
                return r;
        alias[strcspn(alias, "\n")] = '\0';
        space = strchr(alias, ' ');
        if (space)
                *space++ = '\0';
        if (!space || str_to_u64(space, INT32_MAX, &number) < 0)
                number = 0; /* not known */
        *ret_number = (int64_t) number;
        *ret_marker = TAKE(alias);
        return 0;
}

int port_each(const char *folder, PortFunc on_port, void *userdata) {
        DIR *dir = opendir(folder);
        int r = 0;

        for (struct dirent *e; dir && r == 0 && (e = readdir(dir));) {
                auto_cleanup(freep) char *marker = NULL;
                int64_t number;

                if (e->d_name[0] == '.' || strlen(e->d_name) >= IFNAMSIZ ||
                    port_alias(e->d_name, &marker, &number) < 0)
                        continue;
                r = on_port(userdata, e->d_name, marker, number);
        }
        if (dir)
                closedir(dir);
        return r;
}

typedef struct Taken {
        const Bridge *b;
        int64_t number;
} Taken;

static int is_taken(void *userdata, const char *device, const char *marker, int64_t number) {
        const Taken *taken = userdata;

        return number == taken->number && !streq(device, taken->b->veth);
}

static bool number_free(const Bridge *b, int64_t number) {
        Taken taken = { b, number };
        char folder[64];

        if (number < 1 || number + 2 >= INT64_C(1) << (32 - b->prefix))
                return false;
        snprintf(folder, sizeof(folder), "/sys/class/net/%s/brif", b->name);
        return port_each(folder, is_taken, &taken) == 0;
}

/* The number of the address that the ledger has, so that what was told to others stays true. */
static int64_t number_before(const SdkCall *call, const Bridge *b) {
        struct in_addr address;

        if (inet_pton(AF_INET, sdk_string(call->state, "address", ""), &address) != 1)
                return 0;
        return (int64_t) ntohl(address.s_addr) - b->subnet - 1;
}

int port_number(const SdkCall *call, const Bridge *b, int64_t own, int64_t *ret, Error *reterr) {
        int64_t wishes[] = { own, number_before(call, b), call->slot };
        int64_t last = (INT64_C(1) << (32 - b->prefix)) - 3;

        for (size_t i = 0; i < N_ELEMENTS(wishes); i++)
                if (number_free(b, wishes[i])) {
                        *ret = wishes[i];
                        return 0;
                }
        /* From the far end, where slots come to last. */
        for (int64_t n = last; n > 0 && n > last - PORT_TRIES; n--)
                if (number_free(b, n)) {
                        *ret = n;
                        return 0;
                }
        return error_set(reterr, -EPERM,
                         "The subnet has no address left for the network number %lld",
                         (long long) call->slot);
}
