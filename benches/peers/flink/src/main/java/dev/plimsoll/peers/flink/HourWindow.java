package dev.plimsoll.peers.flink;

import dev.plimsoll.peers.Event;
import dev.plimsoll.peers.Progress;
import dev.plimsoll.peers.Row;
import org.apache.flink.api.common.functions.AggregateFunction;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.streaming.api.functions.windowing.ProcessWindowFunction;
import org.apache.flink.streaming.api.windowing.windows.TimeWindow;
import org.apache.flink.util.Collector;

/** A window's fold, and its row once it fires. */
final class HourWindow {
    private HourWindow() {}

    static final class Add implements AggregateFunction<Event, HourFold, HourFold> {
        private static final long serialVersionUID = 1;

        @Override
        public HourFold createAccumulator() {
            return new HourFold();
        }

        @Override
        public HourFold add(Event event, HourFold fold) {
            fold.add(event.value, event.bad);
            Progress.folded();
            return fold;
        }

        @Override
        public HourFold getResult(HourFold fold) {
            return fold;
        }

        @Override
        public HourFold merge(HourFold one, HourFold other) {
            throw new UnsupportedOperationException("tumbling windows do not merge");
        }
    }

    static final class Tell extends ProcessWindowFunction<HourFold, Tuple2<byte[], byte[]>, String, TimeWindow> {
        private static final long serialVersionUID = 1;

        @Override
        public void process(
                String key, Context context, Iterable<HourFold> folds, Collector<Tuple2<byte[], byte[]>> out) {
            long hourMs = context.window().getStart();
            for (HourFold fold : folds) {
                out.collect(Tuple2.of(Row.key(key, hourMs), Row.value(key, hourMs, fold)));
            }
        }
    }
}
