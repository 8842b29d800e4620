#include "server/client.h"

#include <netinet/in.h>
#include <stdlib.h>

void client_address(const struct sockaddr *address, char text[INET6_ADDRSTRLEN])
{
    const void *ip = address->sa_family == AF_INET6
                         ? (const void *)&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr
                         : (const void *)&((const struct sockaddr_in *)(const void *)address)->sin_addr;
    if (!inet_ntop(address->sa_family, ip, text, INET6_ADDRSTRLEN))
        text[0] = '\0';
}

struct client *client_create(struct MHD_Connection *connection, struct tls *tls, struct headway_watch *watch)
{
    const union MHD_ConnectionInfo *session =
        tls ? MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION) : NULL;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const union MHD_ConnectionInfo *socket = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct client *c = socket ? calloc(1, sizeof(*c)) : NULL;
    if (!c)
        return NULL;
    if (info)
        client_address(info->client_addr, c->address);
    c->secure = tls != NULL;
    if (session)
        tls_begin(tls, session->tls_session, &c->peer);
    c->watch = watch;
    headway_begin(watch, &c->headway, socket->connect_fd, c->address);
    return c;
}

void client_destroy(struct client *c)
{
    if (!c)
        return;
    headway_end(c->watch, &c->headway);
    tls_peer_finish(&c->peer);
    free(c);
}
