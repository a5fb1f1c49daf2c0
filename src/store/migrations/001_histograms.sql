-- Mergeable histograms without an extension. Tables keep two plain arrays, which any tool reads; views show one
-- composite. Bins are HDR indexes at 7-bit resolution of the value scaled to an integer (value * 10^scale).
CREATE TYPE {schema}.histogram AS (scale smallint, bins smallint[], counts bigint[]);
COMMENT ON TYPE {schema}.histogram IS 'Mergeable histogram: bins are HDR 7-bit indexes of value * 10^scale, ascending; counts run parallel. Never average percentiles: hist_merge, then hist_percentile.';
COMMENT ON COLUMN {schema}.histogram.scale IS 'Decimal digits of the values kept by the bins.';
COMMENT ON COLUMN {schema}.histogram.bins IS 'HDR 7-bit bin indexes, ascending.';
COMMENT ON COLUMN {schema}.histogram.counts IS 'Values in each bin.';

CREATE FUNCTION {schema}.hist_bin_high(bin int) RETURNS bigint
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
  SELECT CASE WHEN bin < 256 THEN bin::bigint ELSE ((129 + (bin & 127))::bigint << ((bin >> 7) - 1)) - 1 END
$$;
COMMENT ON FUNCTION {schema}.hist_bin_high(int) IS 'Largest scaled integer that falls into the bin.';

-- The aggregate's state is a bigint[] indexed by bin, with the scale at index -1. plpgsql keeps it expanded and
-- changes it in place; a function in SQL would copy it for every row.
CREATE FUNCTION {schema}.hist_accum(state bigint[], h {schema}.histogram) RETURNS bigint[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
  b smallint[] := h.bins;
  c bigint[] := h.counts;
  k int;
BEGIN
  IF b IS NULL THEN RETURN state; END IF;
  IF cardinality(b) IS DISTINCT FROM cardinality(c) THEN
    RAISE data_exception USING MESSAGE =
      format('hist_merge: a histogram has %s bins but %s counts', cardinality(b), coalesce(cardinality(c), 0));
  END IF;
  IF state[-1] IS DISTINCT FROM h.scale THEN
    IF state[-1] IS NOT NULL THEN
      RAISE data_exception USING MESSAGE =
        format('hist_merge: histograms of scale %s and %s cannot be merged', state[-1], h.scale);
    END IF;
    state[-1] := h.scale;
  END IF;
  FOR i IN 1 .. cardinality(b) LOOP
    k := b[i];
    state[k] := coalesce(state[k], 0) + c[i];
  END LOOP;
  RETURN state;
END $$;
COMMENT ON FUNCTION {schema}.hist_accum(bigint[], {schema}.histogram) IS 'Step of the aggregate hist_merge.';

CREATE FUNCTION {schema}.hist_combine(state bigint[], other bigint[]) RETURNS bigint[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
  IF other[-1] IS NULL THEN RETURN state; END IF;
  IF state[-1] IS NULL THEN RETURN other; END IF;
  IF state[-1] <> other[-1] THEN
    RAISE data_exception USING MESSAGE =
      format('hist_merge: histograms of scale %s and %s cannot be merged', state[-1], other[-1]);
  END IF;
  FOR k IN 0 .. array_upper(other, 1) LOOP
    IF other[k] > 0 THEN state[k] := coalesce(state[k], 0) + other[k]; END IF;
  END LOOP;
  RETURN state;
END $$;
COMMENT ON FUNCTION {schema}.hist_combine(bigint[], bigint[]) IS 'Joins the states of parallel workers in hist_merge.';

CREATE FUNCTION {schema}.hist_finish(state bigint[]) RETURNS {schema}.histogram
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT CASE WHEN state[-1] IS NOT NULL THEN (
    SELECT row(state[-1]::smallint,
               coalesce(array_agg(k::smallint ORDER BY k), '{}'),
               coalesce(array_agg(state[k] ORDER BY k), '{}'))::{schema}.histogram
    FROM generate_series(0, array_upper(state, 1)) k WHERE state[k] > 0) END
$$;
COMMENT ON FUNCTION {schema}.hist_finish(bigint[]) IS 'Last step of the aggregate hist_merge.';

CREATE AGGREGATE {schema}.hist_merge({schema}.histogram) (
  sfunc = {schema}.hist_accum, stype = bigint[], initcond = '{}',
  finalfunc = {schema}.hist_finish, combinefunc = {schema}.hist_combine, parallel = safe);
COMMENT ON AGGREGATE {schema}.hist_merge({schema}.histogram) IS 'Adds histograms up, exactly; NULLs are skipped. Fails when their scales differ.';

CREATE FUNCTION {schema}.hist_count(h {schema}.histogram) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT coalesce(sum(c), 0)::bigint FROM unnest(h.counts) c
$$;
COMMENT ON FUNCTION {schema}.hist_count({schema}.histogram) IS 'Values in the histogram.';

CREATE FUNCTION {schema}.hist_percentile(h {schema}.histogram, p double precision) RETURNS numeric
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
  c bigint[] := h.counts;
  rest bigint;
BEGIN
  IF p IS NULL OR NOT p BETWEEN 0 AND 1 THEN
    RAISE data_exception USING MESSAGE = format('hist_percentile: p must be between 0 and 1, is %s', coalesce(p::text, 'NULL'));
  END IF;
  IF c IS NULL THEN RETURN NULL; END IF;
  rest := greatest(1, ceil(p::numeric * {schema}.hist_count(h)));
  FOR i IN 1 .. cardinality(c) LOOP
    rest := rest - c[i];
    IF rest <= 0 THEN RETURN trim_scale({schema}.hist_bin_high(h.bins[i]) / (10::numeric ^ h.scale)); END IF;
  END LOOP;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION {schema}.hist_percentile({schema}.histogram, double precision) IS 'Value at rank ceil(p * count), in the unit of the column: never too low, at most 1/128 too high. NULL when empty.';

CREATE FUNCTION {schema}.hist_fraction_at_most(h {schema}.histogram, x numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT sum(c) FILTER (WHERE {schema}.hist_bin_high(b) <= x * 10::numeric ^ h.scale) / nullif(sum(c), 0)
  FROM unnest(h.bins, h.counts) u(b, c)
$$;
COMMENT ON FUNCTION {schema}.hist_fraction_at_most({schema}.histogram, numeric) IS 'Share of the values that are at most x; exact when x is the edge of a bin, else without the bin that holds x. NULL when empty.';

-- One row for each histogram column ever made: bins of different scales must never meet under one name.
CREATE TABLE {schema}.histogram_scale (
  table_name text NOT NULL,
  column_name text NOT NULL,
  scale smallint NOT NULL,
  PRIMARY KEY (table_name, column_name)
);
COMMENT ON TABLE {schema}.histogram_scale IS 'Scale of each histogram column of the hourly tables.';
COMMENT ON COLUMN {schema}.histogram_scale.table_name IS 'Hourly table.';
COMMENT ON COLUMN {schema}.histogram_scale.column_name IS 'Histogram column, without _bins and _counts.';
COMMENT ON COLUMN {schema}.histogram_scale.scale IS 'Decimal digits of the values kept by the bins.';
