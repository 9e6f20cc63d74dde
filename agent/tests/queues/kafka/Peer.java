import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.HashMap;
import java.util.concurrent.Future;

import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Kafka's own client, in every way in which it compresses and in transactions.
 *
 * In: the address of a broker, and how many messages to send. Out: how many were sent and came back.
 * Left out on purpose: judging that; the test does.
 */
public final class Peer {
    private static final List<String> CODECS = List.of("none", "gzip", "snappy", "lz4", "zstd");

    private final Map<String, Object> base = new HashMap<>();

    private Peer(String address) {
        base.put("bootstrap.servers", address);
        base.put("client.id", "java");
    }

    public static void main(String[] arguments) throws Exception {
        Peer peer = new Peer(arguments[0]);
        int number = Integer.parseInt(arguments[1]);
        try (Admin admin = Admin.create(peer.base)) {
            // A broker may listen before it has joined the cluster.
            long deadline = System.nanoTime() + Duration.ofMinutes(1).toNanos();
            while (admin.describeCluster().nodes().get().size() < 3 && System.nanoTime() < deadline) {
                Thread.onSpinWait();
            }
            admin.createTopics(List.of(new NewTopic("java", 3, (short) 3))).all().get();
        }
        for (String codec : CODECS) {
            peer.produce(codec, number / CODECS.size());
        }
        System.out.println("produced " + number);
        peer.transactions();
        System.out.println("committed 30");
        peer.consume(number + 30);
    }

    private static byte[] value(int number) {
        return ("order " + number + " ").repeat(1 + number % 40).getBytes(StandardCharsets.UTF_8);
    }

    private static ProducerRecord<byte[], byte[]> record(int number) {
        byte[] key = Integer.toString(number).getBytes(StandardCharsets.UTF_8);
        ProducerRecord<byte[], byte[]> record = new ProducerRecord<>("java", number % 3, key, value(number));
        record.headers().add("colour", null).add("colour", new byte[] {(byte) 0xff});
        return record;
    }

    private KafkaProducer<byte[], byte[]> producer(Map<String, Object> more) {
        Map<String, Object> keys = new HashMap<>(base);
        keys.put("linger.ms", 5);
        keys.putAll(more);
        return new KafkaProducer<>(keys, new ByteArraySerializer(), new ByteArraySerializer());
    }

    private void produce(String codec, int number) throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = producer(Map.of("compression.type", codec))) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int index = 0; index < number; index++) {
                sent.add(producer.send(record(index)));
            }
            for (Future<RecordMetadata> future : sent) {
                future.get();
            }
        }
    }

    private void transactions() {
        Map<String, Object> keys = Map.of("transactional.id", "java", "compression.type", "zstd");
        try (KafkaProducer<byte[], byte[]> producer = producer(keys)) {
            producer.initTransactions();
            for (boolean commits : new boolean[] {false, true}) {
                producer.beginTransaction();
                for (int index = 0; index < 30; index++) {
                    producer.send(record(index));
                }
                producer.flush();
                if (commits) {
                    producer.commitTransaction();
                } else {
                    producer.abortTransaction();
                }
            }
        }
    }

    private void consume(int number) {
        Map<String, Object> keys = new HashMap<>(base);
        keys.putAll(Map.of("group.id", "java", "auto.offset.reset", "earliest", "isolation.level", "read_committed"));
        int seen = 0;
        int withContext = 0;
        int asSent = 0;
        ByteArrayDeserializer bytes = new ByteArrayDeserializer();
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(keys, bytes, bytes)) {
            consumer.subscribe(List.of("java"));
            long deadline = System.nanoTime() + Duration.ofMinutes(1).toNanos();
            int empty = 0;
            while (System.nanoTime() < deadline && (seen < number || empty < 2)) {
                int before = seen;
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofSeconds(1))) {
                    seen++;
                    withContext += record.headers().lastHeader("traceparent") == null ? 0 : 1;
                    asSent += isAsSent(record) ? 1 : 0;
                }
                empty = seen == before ? empty + 1 : 0;
            }
        }
        System.out.println("consumed " + seen + ", with context " + withContext + ", as sent " + asSent);
    }

    private static boolean isAsSent(ConsumerRecord<byte[], byte[]> record) {
        Header[] headers = record.headers().toArray();
        int number = Integer.parseInt(new String(record.key(), StandardCharsets.UTF_8));
        return Arrays.equals(record.value(), value(number))
            && headers[0].key().equals("colour") && headers[0].value() == null
            && headers[1].key().equals("colour") && Arrays.equals(headers[1].value(), new byte[] {(byte) 0xff});
    }
}
