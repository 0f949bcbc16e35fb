/* A word to the service manager (systemd's Type=notify); see sd_notify(3), whose protocol this is. */
#ifndef CARPOOL_COORDINATOR_NOTIFY_H
#define CARPOOL_COORDINATOR_NOTIFY_H

/* Sends state ("READY=1") to $NOTIFY_SOCKET. Without one, or when nobody takes it, nothing happens: whoever
 * waits will say so. */
void notify_manager(const char *state);

#endif
