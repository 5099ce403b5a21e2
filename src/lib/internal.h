/* What the parts of libhandoff share. Not installed. */
#ifndef HANDOFF_INTERNAL_H
#define HANDOFF_INTERNAL_H

#include <stdbool.h>

/* The value of NOTIFY_SOCKET as it was when the environment was read, or NULL. */
char const* handoff_notify_socket(void);

/* Whether `name` may name a stored descriptor: printable ASCII without ':', 1 to HANDOFF_NAME_MAX bytes. */
bool handoff_name_is_valid(char const* name);

#endif
