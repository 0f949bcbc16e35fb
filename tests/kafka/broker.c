/*
 * A Kafka cluster of one broker for tests: librdkafka's mock, on a port of 127.0.0.1 that the caller chooses,
 * so that one which was killed can come back in the same place (with nothing in it).
 *
 *   broker PORT TOPIC…     prints "ready"; then reads commands, one a line, and answers each with "ok":
 *     down, up             refuses connections and closes those there are; takes them again
 *     slow MS              answers so much later
 *     reject N CODE        answers the next N produce requests with that error of the protocol
 *     hide TOPIC           answers that there is no such topic
 * It ends with its input.
 */
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PARTITIONS  4
#define API_PRODUCE 0

static in_port_t wanted_port;

/* Stands in front of the C library's: the mock takes any free port otherwise. */
int bind(int fd, const struct sockaddr *address, socklen_t n);
int bind(int fd, const struct sockaddr *address, socklen_t n)
{
    struct sockaddr_in there;
    if (address->sa_family == AF_INET && n >= sizeof(there)) {
        memcpy(&there, address, sizeof(there));
        if (there.sin_port == 0) {
            int yes = 1;
            there.sin_port = wanted_port;
            setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
        }
        return (int)syscall(SYS_bind, fd, &there, sizeof(there));
    }
    return (int)syscall(SYS_bind, fd, address, n);
}

static void obey(rd_kafka_mock_cluster_t *cluster, char *line)
{
    int number = 0, code = 0;
    char topic[256];
    if (strcmp(line, "down\n") == 0)
        rd_kafka_mock_broker_set_down(cluster, 1);
    else if (strcmp(line, "up\n") == 0)
        rd_kafka_mock_broker_set_up(cluster, 1);
    else if (sscanf(line, "slow %d", &number) == 1)
        rd_kafka_mock_broker_set_rtt(cluster, 1, number);
    else if (sscanf(line, "reject %d %d", &number, &code) == 2)
        while (number-- > 0)
            rd_kafka_mock_push_request_errors(cluster, API_PRODUCE, 1, (rd_kafka_resp_err_t)code);
    else if (sscanf(line, "hide %255s", topic) == 1)
        rd_kafka_mock_topic_set_error(cluster, topic, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    else
        fprintf(stderr, "broker: unknown command: %s", line);
    puts("ok");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    char said[256], line[512];
    if (argc < 3)
        return 2;
    wanted_port = htons((uint16_t)atoi(argv[1]));
    rd_kafka_t *handle = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), said, sizeof(said));
    rd_kafka_mock_cluster_t *cluster = handle ? rd_kafka_mock_cluster_new(handle, 1) : NULL;
    if (!cluster) {
        fprintf(stderr, "broker: cannot be started on port %s\n", argv[1]);
        return 1;
    }
    for (int i = 2; i < argc; i++)
        rd_kafka_mock_topic_create(cluster, argv[i], PARTITIONS, 1);
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin))
        obey(cluster, line);
    rd_kafka_mock_cluster_destroy(cluster);
    rd_kafka_destroy(handle);
    return 0;
}
