#include "providers/process/bridge.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include "orchestrator/base/fault.h"
#include "orchestrator/base/hash.h"
#include "orchestrator/base/io.h"
#include "orchestrator/base/str.h"
#include "orchestrator/glue/child.h"
#include "providers/process/run.h"
#include "providers/sdk/mark.h"

#define TOOL_MS    20000
#define NSFS_MAGIC 0x6e736673

/* Subnets tried when the admin names none: 198.18.0.0/15 in sixteen parts. The range is set aside for
 * tests of network devices (RFC 2544, appendix C.2.2; RFC 6890, table 8): nothing that the machine
 * reaches through its default route can lie there. A private range such as 10.0.0.0/8 may hold the
 * site's name servers, which a route of ours would hide. */
#define CANDIDATES       16
#define CANDIDATE_FIRST  UINT32_C(0xc6120000)
#define CANDIDATE_PREFIX 19

static const char *tail_of(const char *s, size_t n) {
        return strlen(s) > n ? s + strlen(s) - n : s;
}

void bridge_names(const SdkCall *call, Bridge *ret) {
        *ret = (Bridge){ 0 };
        snprintf(ret->name, sizeof(ret->name), "mf%s", tail_of(call->installation, 12));
        snprintf(ret->table, sizeof(ret->table), "mayfly_%.50s", call->installation);
        for (char *c = ret->table; *c; c++)
                if (*c == '-' || *c == '.')
                        *c = '_';
        snprintf(ret->veth, sizeof(ret->veth), "mv%s", tail_of(call->uid, 12));
        snprintf(ret->netns, sizeof(ret->netns), "mf-%s-%.40s", tail_of(call->installation, 8),
                 call->uid);
}

int subnet_parse(const char *text, uint32_t *ret_subnet, unsigned *ret_prefix) {
        auto_cleanup(freep) char *copy = strdup(text);
        char *slash = copy ? strchr(copy, '/') : NULL;
        struct in_addr address;
        uint64_t prefix;

        if (!slash)
                return -EINVAL;
        *slash++ = '\0';
        if (inet_pton(AF_INET, copy, &address) != 1 || str_to_u64(slash, 29, &prefix) < 0 ||
            prefix < 8)
                return -EINVAL;
        *ret_subnet = ntohl(address.s_addr) & ~UINT32_C(0) << (32 - prefix);
        *ret_prefix = (unsigned) prefix;
        return 0;
}

bool subnet_clashes(const char *routes, uint32_t subnet, unsigned prefix, const char *except) {
        uint32_t mask = ~UINT32_C(0) << (32 - prefix);

        for (const char *line = strchr(routes, '\n'); line; line = strchr(line, '\n')) {
                char device[32];
                uint32_t to, to_mask, common;

                line++;
                if (sscanf(line, "%31s %" SCNx32 " %*x %*x %*d %*d %*d %" SCNx32, device, &to,
                           &to_mask) != 3 ||
                    streq(device, except))
                        continue;
                to = ntohl(to);
                to_mask = ntohl(to_mask);
                common = mask & to_mask; /* the wider of the two */
                if (to_mask != 0 && (to & common) == (subnet & common))
                        return true;
        }
        return false;
}

/* Where the system has it, whatever PATH we were given. */
static const char *tool_path(const char *name, char *buf, size_t size) {
        static const char *const folders[] = { "/usr/sbin", "/sbin", "/usr/bin", "/bin" };

        for (size_t i = 0; i < N_ELEMENTS(folders); i++) {
                snprintf(buf, size, "%s/%s", folders[i], name);
                if (access(buf, X_OK) == 0)
                        return buf;
        }
        return name;
}

static int tool(const char *what, const char *first, const char *second, const char *third,
                const char *input, Error *reterr) {
        char path[64];
        char *argv[] = { (char *) tool_path(first, path, sizeof(path)), (char *) second,
                         (char *) third, NULL };
        auto_cleanup(freep) char *err = NULL;
        char text[64];
        int status, r;

        r = child_run(argv, NULL, input, 1024 * 1024, TOOL_MS, NULL, &err, &status, reterr);
        if (r < 0)
                return r;
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                return error_set(reterr, -EIO, "Cannot %s: %s %s: %.500s", what, first,
                                 child_status_format(status, text), err);
        return 0;
}

/* The address and mask that the bridge has already. */
static bool bridge_read(Bridge *b) {
        auto_cleanup(closep) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        struct ifreq r = { 0 };
        uint32_t address, mask;

        memcpy(r.ifr_name, b->name, sizeof(r.ifr_name));
        if (fd < 0 || ioctl(fd, SIOCGIFADDR, &r) < 0)
                return false;
        address = ntohl(((struct sockaddr_in *) &r.ifr_addr)->sin_addr.s_addr);
        if (ioctl(fd, SIOCGIFNETMASK, &r) < 0)
                return false;
        mask = ntohl(((struct sockaddr_in *) &r.ifr_addr)->sin_addr.s_addr);
        b->subnet = address & mask;
        b->prefix = (unsigned) __builtin_popcount(mask);
        return true;
}

uint32_t subnet_candidate(unsigned i) {
        return CANDIDATE_FIRST +
               (uint32_t) (i % CANDIDATES) * (UINT32_C(1) << (32 - CANDIDATE_PREFIX));
}

/* The admin's subnet, or the first of our candidates that no route of this machine touches. */
static int subnet_choose(const SdkCall *call, Bridge *b, Error *reterr) {
        const char *wanted = sdk_string(call->config, "subnet", NULL);
        auto_cleanup(freep) char *routes = NULL;
        uint64_t first = hash_string(0, call->installation);
        int r = read_file("/proc/net/route", 4 * 1024 * 1024, &routes, NULL, reterr);

        if (r < 0)
                return r;
        if (wanted) {
                if (subnet_parse(wanted, &b->subnet, &b->prefix) < 0) {
                        return error_set(reterr, -EPERM,
                                         "The subnet '%s' in the provider's configuration is"
                                         " not of the form 10.213.0.0/16 (8 to 29)",
                                         wanted);
                }
                if (subnet_clashes(routes, b->subnet, b->prefix, b->name))
                        return error_set(reterr, -EPERM,
                                         "The subnet %s overlaps a route of this machine; set"
                                         " another 'subnet' for the provider 'process'",
                                         wanted);
                return 0;
        }
        b->prefix = CANDIDATE_PREFIX;
        for (unsigned i = 0; i < CANDIDATES; i++) {
                b->subnet = subnet_candidate((unsigned) (first % CANDIDATES) + i);
                if (!subnet_clashes(routes, b->subnet, b->prefix, b->name))
                        return 0;
        }
        return error_set(reterr, -EPERM,
                         "Every subnet of 198.18.0.0/15 is in use on this machine; set 'subnet' for"
                         " the provider 'process'");
}

/* Rules first, bridge second: it never stands without them. Looked for each time, since a firewall's
 * reload may have swept them away. */
static int table_ensure(const Bridge *b, Error *reterr) {
        auto_cleanup(freep) char *rules =
                str_format("add table inet %s\n"
                           "delete table inet %s\n"
                           "table inet %s {\n"
                           "  chain input {\n"
                           "    type filter hook input priority -10;\n"
                           "    iifname \"%s\" ct state established,related accept\n"
                           "    iifname \"%s\" drop\n"
                           "  }\n"
                           "  chain forward {\n"
                           "    type filter hook forward priority -10;\n"
                           "    iifname \"%s\" drop\n"
                           "    oifname \"%s\" drop\n"
                           "  }\n"
                           "}\n",
                           b->table, b->table, b->table, b->name, b->name, b->name, b->name);

        if (nft_table_exists(b->table))
                return 0;
        return rules ? tool("close the network", "nft", "-f", "-", rules, reterr) : -ENOMEM;
}

static bool bridge_exists(const Bridge *b) {
        char path[64];

        snprintf(path, sizeof(path), "/sys/class/net/%s/bridge", b->name);
        return path_exists(path);
}

static void bridge_ipv6_off(const char *device) {
        char path[96];
        int fd;

        snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", device);
        fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd >= 0)
                (void) !write(fd, "1", 1);
        fd_close(fd);
}

static void address_format(uint32_t address, char buf[static INET_ADDRSTRLEN]) {
        struct in_addr in = { .s_addr = htonl(address) };

        inet_ntop(AF_INET, &in, buf, INET_ADDRSTRLEN);
}

/* Two installations choose at the same time: the machine's lock on network namespaces decides. */
static int bridge_ensure(SdkCall *call, Bridge *b, Error *reterr) {
        auto_cleanup(closep) int lock = -1;
        auto_cleanup(freep) char *batch = NULL;
        char address[INET_ADDRSTRLEN];
        bool half = bridge_exists(b);
        int r;

        if (half && bridge_read(b))
                return 0;
        if (mkdir(NETNS_FOLDER, 0755) < 0 && errno != EEXIST)
                return error_set(reterr, -errno, "Cannot make " NETNS_FOLDER ": %s",
                                 strerror(errno));
        r = netns_folder_share();
        if (r < 0)
                return error_set(reterr, r, "Cannot share " NETNS_FOLDER ": %s", strerror(-r));
        lock = open("/run", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (lock < 0 || flock(lock, LOCK_EX) < 0)
                return error_set(reterr, -errno, "Cannot lock /run: %s", strerror(errno));
        r = subnet_choose(call, b, reterr);
        if (r < 0)
                return r;
        address_format(b->subnet + 1, address);
        batch = str_format("%s%s%slink add name %s address 02:6d:%02x:%02x:%02x:%02x type bridge\n"
                           "addr add %s/%u dev %s\nlink set %s up\n",
                           half ? "link del " : "", half ? b->name : "", half ? "\n" : "", b->name,
                           b->subnet >> 24 & 255, b->subnet >> 16 & 255, b->subnet >> 8 & 255,
                           (b->subnet & 255) + 1, address, b->prefix, b->name, b->name);
        if (!batch)
                return -ENOMEM;
        r = tool("make the bridge", "ip", "-batch", "-", batch, reterr);
        if (r == 0)
                bridge_ipv6_off(b->name);
        return r;
}

static bool netns_exists(const Bridge *b) {
        char path[128];
        struct statfs fs;

        snprintf(path, sizeof(path), NETNS_FOLDER "/%s", b->netns);
        return statfs(path, &fs) == 0 && fs.f_type == NSFS_MAGIC;
}

static bool device_exists(const char *name) {
        return if_nametoindex(name) > 0;
}

void bridge_seen_done(BridgeSeen *seen) {
        free(TAKE(seen->marker));
}

void bridge_look(const Bridge *b, BridgeSeen *ret) {
        char path[96], master[256];
        ssize_t n;

        *ret = (BridgeSeen){ .namespace = netns_exists(b), .device = device_exists(b->veth) };
        snprintf(path, sizeof(path), "/sys/class/net/%s/master", b->veth);
        n = readlink(path, master, sizeof(master) - 1);
        master[n > 0 ? n : 0] = '\0';
        ret->joined = n > 0 && str_ends_with(master, b->name);
        (void) port_alias(b->veth, &ret->marker, &ret->number); /* without it: nobody's */
}

/* In a child: a network namespace is entered and made for the whole process. */
static int child_do(const Bridge *b, int (*step)(const Bridge *b), const char *what,
                    Error *reterr) {
        int status;
        pid_t pid = fork();

        if (pid == 0) {
                int r = step(b);

                _exit(r < 0 ? -r & 127 : 0);
        }
        if (pid < 0)
                return error_set(reterr, -errno, "Cannot fork: %s", strerror(errno));
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
                ;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
                return 0;
        return error_set(reterr, -EIO, "Cannot %s: %s", what,
                         WIFEXITED(status) ? strerror(WEXITSTATUS(status))
                                           : "the process was ended");
}

static int step_address(const Bridge *b) {
        auto_cleanup(closep) int fd = -1, netns = -1;
        char path[128];
        struct ifreq r = { .ifr_name = "eth0" };
        struct sockaddr_in *address = (struct sockaddr_in *) &r.ifr_addr;

        snprintf(path, sizeof(path), NETNS_FOLDER "/%s", b->netns);
        netns = open(path, O_RDONLY | O_CLOEXEC);
        if (netns < 0 || setns(netns, CLONE_NEWNET) < 0)
                return -errno;
        fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -errno;
        *address = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr = b->address };
        if (ioctl(fd, SIOCSIFADDR, &r) < 0)
                return -errno;
        *address =
                (struct sockaddr_in){ .sin_family = AF_INET,
                                      .sin_addr.s_addr = htonl(~UINT32_C(0) << (32 - b->prefix)) };
        if (ioctl(fd, SIOCSIFNETMASK, &r) < 0)
                return -errno;
        memset(&r.ifr_ifru, 0, sizeof(r.ifr_ifru));
        r.ifr_flags = IFF_UP | IFF_RUNNING | IFF_BROADCAST | IFF_MULTICAST;
        return ioctl(fd, SIOCSIFFLAGS, &r) < 0 ? -errno : 0;
}

static int step_make(const Bridge *b) {
        char path[128];

        snprintf(path, sizeof(path), NETNS_FOLDER "/%s", b->netns);
        (void) unlink(path); /* what a killed one left: a file without a namespace behind it */
        return netns_make_named(path);
}

static int veth_make(const SdkCall *call, const Bridge *b, int64_t number, bool replace,
                     Error *reterr) {
        uint32_t a = ntohl(b->address.s_addr);
        auto_cleanup(freep) char *batch = str_format(
                "%s%s%slink add name %s type veth peer name eth0 address 02:6d:%02x:%02x:%02x:%02x netns %s\n"
                "link set dev %s addrgenmode none alias \"%s %" PRId64 "\"\n"
                "link set dev %s master %s\n"
                "link set dev %s type bridge_slave isolated on\n"
                "link set dev %s up\n",
                replace ? "link del " : "", replace ? b->veth : "", replace ? "\n" : "", b->veth,
                a >> 24 & 255, a >> 16 & 255, a >> 8 & 255, a & 255, b->netns, b->veth,
                call->marker, number, b->veth, b->name, b->veth, b->veth);

        return batch ? tool("join the network to the bridge", "ip", "-batch", "-", batch, reterr)
                     : -ENOMEM;
}

int bridge_provision(SdkCall *call, Bridge *b, Error *reterr) {
        auto_cleanup(freep) char *path = path_join(call->state_dir, "network.lock");
        auto_cleanup(bridge_seen_done) BridgeSeen seen = { 0 };
        auto_cleanup(closep) int lock = -1;
        int64_t number = 0;
        bool own;
        int r;

        if (!path)
                return -ENOMEM;
        r = lock_take(path, &lock, reterr);
        if (r == 0)
                r = table_ensure(b, reterr);
        if (r == 0)
                r = bridge_ensure(call, b, reterr);
        if (r < 0)
                return r;
        crash_point("process.bridge");
        bridge_look(b, &seen);
        own = seen.joined && seen.marker && streq(seen.marker, call->marker);
        r = port_number(call, b, own ? seen.number : 0, &number, reterr);
        if (r < 0)
                return r;
        b->address.s_addr = htonl(b->subnet + 1 + (uint32_t) number);
        if (!seen.namespace)
                r = child_do(b, step_make, "make a network namespace", reterr);
        /* Without its namespace the pair is another one's end. */
        if (r == 0 && !(seen.namespace && own && seen.number == number))
                r = veth_make(call, b, number, device_exists(b->veth), reterr);
        if (r < 0)
                return r;
        crash_point("process.veth");
        return child_do(b, step_address, "set the network's address", reterr);
}

/* Has the bridge any port? */
static bool bridge_used(const Bridge *b) {
        char path[64];
        DIR *dir;
        bool used = false;

        snprintf(path, sizeof(path), "/sys/class/net/%s/brif", b->name);
        dir = opendir(path);
        for (struct dirent *e; dir && !used && (e = readdir(dir));)
                used = e->d_name[0] != '.';
        if (dir)
                closedir(dir);
        return used;
}

static int installation_remove(SdkCall *call, const Bridge *b, Error *reterr) {
        auto_cleanup(freep) char *batch = str_format("link del %s\n", b->name);
        auto_cleanup(freep) char *rules =
                str_format("add table inet %s\ndelete table inet %s\n", b->table, b->table);
        bool bridge = bridge_exists(b), table = nft_table_exists(b->table);
        int r = 0;

        if (!batch || !rules)
                return -ENOMEM;
        if (bridge)
                r = tool("remove the bridge", "ip", "-batch", "-", batch, reterr);
        if (r == 0)
                r = tool("remove the bridge's rules", "nft", "-f", "-", rules, reterr);
        if (r == 0 && bridge)
                r = report_removed(call, true, "interface", b->name);
        return r == 0 && table ? report_removed(call, true, "table", b->table) : r;
}

static int namespace_remove(SdkCall *call, const Bridge *b, bool mounted, Error *reterr) {
        auto_cleanup(freep) char *path = str_format(NETNS_FOLDER "/%s", b->netns);
        int r;

        if (!path)
                return -ENOMEM;
        if (mounted && umount2(path, MNT_DETACH) < 0)
                return error_set(reterr, -errno, "Cannot unmount '%s': %s", path, strerror(errno));
        if (unlink(path) < 0 && errno != ENOENT)
                return error_set(reterr, -errno, "Cannot remove '%s': %s", path, strerror(errno));
        r = report_removed(call, mounted, "namespace", b->netns);
        return r == 0 ? report_removed(call, mounted, "mount", path) : r;
}

int bridge_deprovision(SdkCall *call, const Bridge *b, Error *reterr) {
        auto_cleanup(freep) char *path = path_join(call->state_dir, "network.lock");
        auto_cleanup(freep) char *batch = str_format("link del %s\n", b->veth);
        auto_cleanup(freep) char *netns = str_format(NETNS_FOLDER "/%s", b->netns);
        auto_cleanup(bridge_seen_done) BridgeSeen seen = { 0 };
        auto_cleanup(strv_freep) char **pids = NULL;
        auto_cleanup(closep) int lock = -1;
        int r;

        if (!path || !batch || !netns)
                return -ENOMEM;
        r = lock_take(path, &lock, reterr);
        if (r < 0)
                return r;
        bridge_look(b, &seen);
        if (seen.marker && *seen.marker && !streq(seen.marker, call->marker))
                return error_set(reterr, -EEXIST, "The interface %s is marked '%s'", b->veth,
                                 seen.marker);
        r = seen.namespace ? namespace_kill(netns, &pids) : 0;
        if (r == 0 && pids)
                r = report_removed(call, true, "process", b->netns);
        for (char **pid = pids; r == 0 && pid && *pid; pid++)
                r = report_removed(call, true, "pid", *pid);
        if (r == 0 && seen.device)
                r = tool("remove an interface", "ip", "-batch", "-", batch, reterr);
        if (r == 0)
                r = report_removed(call, seen.device, "interface", b->veth);
        if (r == 0)
                r = namespace_remove(call, b, seen.namespace, reterr);
        if (r == 0 && !bridge_used(b))
                r = installation_remove(call, b, reterr);
        if (r == 0 && !bridge_exists(b))
                lock_remove(path);
        return r;
}
