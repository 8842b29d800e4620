#include "server/client.h"

#include <netinet/in.h>
#include <stdlib.h>

static void read_address(struct MHD_Connection *connection, struct client *c)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    if (!info)
        return;
    const struct sockaddr *address = info->client_addr;
    const void *ip = address->sa_family == AF_INET6
                         ? (const void *)&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr
                         : (const void *)&((const struct sockaddr_in *)(const void *)address)->sin_addr;
    if (!inet_ntop(address->sa_family, ip, c->address, sizeof(c->address)))
        c->address[0] = '\0';
}

struct client *client_create(struct MHD_Connection *connection, struct tls *tls)
{
    const union MHD_ConnectionInfo *session =
        tls ? MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION) : NULL;
    struct client *c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    read_address(connection, c);
    c->secure = tls != NULL;
    if (session)
        tls_begin(tls, session->tls_session, &c->peer);
    return c;
}

void client_destroy(struct client *c)
{
    if (!c)
        return;
    tls_peer_finish(&c->peer);
    free(c);
}
