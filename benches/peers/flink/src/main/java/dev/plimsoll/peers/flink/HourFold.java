package dev.plimsoll.peers.flink;

import dev.plimsoll.peers.Fold;
import java.io.IOException;
import org.apache.flink.core.memory.DataInputView;
import org.apache.flink.core.memory.DataOutputView;
import org.apache.flink.types.CopyableValue;

/** A row as Flink's state: without its own way of being copied and written it would go through Kryo. */
public final class HourFold extends Fold implements CopyableValue<HourFold> {
    private static final int VARIABLE_LENGTH = -1;

    @Override
    public int getBinaryLength() {
        return VARIABLE_LENGTH;
    }

    @Override
    public void copyTo(HourFold other) {
        copyInto(other);
    }

    @Override
    public HourFold copy() {
        HourFold other = new HourFold();
        copyInto(other);
        return other;
    }

    @Override
    public void write(DataOutputView out) throws IOException {
        byte[] bytes = encode();
        out.writeInt(bytes.length);
        out.write(bytes);
    }

    @Override
    public void read(DataInputView in) throws IOException {
        byte[] bytes = new byte[in.readInt()];
        in.readFully(bytes);
        decode(bytes);
    }

    @Override
    public void copy(DataInputView in, DataOutputView out) throws IOException {
        int length = in.readInt();
        out.writeInt(length);
        out.write(in, length);
    }
}
