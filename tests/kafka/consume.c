/*
 * Reads topics from their beginning, as somebody's program would, and prints each record as a line: topic,
 * key and value, separated by tabs. Ends with its input.
 *
 *   consume HOST:PORT TOPIC…
 */
#include <librdkafka/rdkafka.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#define PARTITIONS 4 /* as broker.c makes them */

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char said[256];
    if (rd_kafka_conf_set(conf, name, value, said, sizeof(said)) != RD_KAFKA_CONF_OK)
        fprintf(stderr, "consume: %s\n", said);
}

static void print(const rd_kafka_message_t *m)
{
    printf("%s\t%.*s\t%.*s\n", rd_kafka_topic_name(m->rkt), (int)m->key_len, (const char *)m->key,
           (int)m->len, (const char *)m->payload);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    char said[256];
    if (argc < 3)
        return 2;
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", argv[1]);
    set(conf, "group.id", "tests");
    set(conf, "auto.offset.reset", "earliest");
    set(conf, "reconnect.backoff.max.ms", "200");
    set(conf, "fetch.wait.max.ms", "50");
    rd_kafka_t *consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, said, sizeof(said));
    if (!consumer) {
        fprintf(stderr, "consume: %s\n", said);
        return 1;
    }
    rd_kafka_poll_set_consumer(consumer);
    rd_kafka_topic_partition_list_t *all = rd_kafka_topic_partition_list_new(PARTITIONS);
    for (int i = 2; i < argc; i++)
        for (int p = 0; p < PARTITIONS; p++)
            rd_kafka_topic_partition_list_add(all, argv[i], p)->offset = RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_assign(consumer, all);
    rd_kafka_topic_partition_list_destroy(all);
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    while (poll(&input, 1, 0) == 0) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(consumer, 100);
        if (m && !m->err)
            print(m);
        if (m)
            rd_kafka_message_destroy(m);
    }
    rd_kafka_consumer_close(consumer);
    rd_kafka_destroy(consumer);
    return 0;
}
