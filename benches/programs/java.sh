# java: what the virtual machine allocates natively: compilers, direct buffers, zlib, threads
# needs: java javac
case $1 in
prepare)
    cat >Native.java <<'JAVA'
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.zip.*;

public class Native {
    static long packed(int seed, int rounds) throws DataFormatException {
        byte[] input = new byte[50_000], output = new byte[60_000], back = new byte[50_000];
        long sum = 0;
        for (int round = 0; round < rounds; round++) {
            for (int i = 0; i < input.length; i++) input[i] = (byte) (i * (seed + round) >> 5);
            Deflater deflater = new Deflater(1 + round % 9);
            deflater.setInput(input);
            deflater.finish();
            int length = deflater.deflate(output);
            deflater.end();
            Inflater inflater = new Inflater();
            inflater.setInput(output, 0, length);
            inflater.inflate(back);
            inflater.end();
            if (!Arrays.equals(input, back)) throw new AssertionError("round " + round);
            sum += length;
        }
        return sum;
    }

    public static void main(String[] arguments) throws Exception {
        int scale = Integer.parseInt(arguments[0]);
        long[] sums = new long[8];
        ArrayList<Thread> threads = new ArrayList<>();
        for (int n = 0; n < sums.length; n++) {
            int number = n;
            Thread thread = new Thread(() -> {
                try { sums[number] = packed(number + 1, 20 * scale); } catch (DataFormatException e) { throw new RuntimeException(e); }
            });
            threads.add(thread);
            thread.start();
        }
        for (Thread thread : threads) thread.join();
        System.out.println(Arrays.toString(sums));
        ByteBuffer[] buffers = new ByteBuffer[64];
        long bytes = 0;
        for (int i = 0; i < 2000 * scale; i++) {
            int size = 1 + (i * 7919) % 60_000;
            ByteBuffer buffer = ByteBuffer.allocateDirect(size);
            buffer.put(size - 1, (byte) i);
            buffers[i % buffers.length] = buffer;
            bytes += size;
        }
        System.out.println(bytes);
        for (int i = 0; i < 500 * scale; i++) { Thread t = new Thread(() -> {}); t.start(); t.join(); }
        System.out.println("threads");
    }
}
JAVA
    javac -d . Native.java ;;
run)
    java -Xmx128m -XX:MaxDirectMemorySize=64m -cp . Native "$2" && mkdir -p again && javac -d again Native.java && cksum <again/Native.class ;;
esac
