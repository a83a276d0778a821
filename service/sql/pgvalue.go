package sql

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgtype"
)

// pgTypes knows PostgreSQL's own types by their numbers. It is not changed.
var pgTypes = pgtype.NewMap()

// rowOf is a row as a JSON object by column; nil where there is none. before has
// the values that a change left as they are, where those are large.
func rowOf(rel *pglogrepl.RelationMessage, row, before *pglogrepl.TupleData) []byte {
	if row == nil {
		return nil
	}
	var b bytes.Buffer
	b.WriteByte('{')
	for i, column := range row.Columns {
		if i >= len(rel.Columns) {
			break
		}
		if column.DataType == pglogrepl.TupleDataTypeToast && before != nil && i < len(before.Columns) {
			column = before.Columns[i]
		}
		if column.DataType == pglogrepl.TupleDataTypeToast {
			continue // nobody said what it is
		}
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		b.Write(quoteJSON(rel.Columns[i].Name))
		b.WriteByte(':')
		if column.DataType == pglogrepl.TupleDataTypeNull {
			b.WriteString("null")
			continue
		}
		b.Write(pgJSON(rel.Columns[i].DataType, column.Data))
	}
	b.WriteByte('}')
	return b.Bytes()
}

func quoteJSON(s string) []byte {
	out, err := json.Marshal(s)
	if err != nil {
		panic("sql: text without JSON: " + err.Error())
	}
	return out
}

// pgJSON is a value as PostgreSQL's to_jsonb gives it, bytes as SQLite's changes
// have them. Types that are not PostgreSQL's own are their text.
func pgJSON(oid uint32, data []byte) []byte {
	switch oid {
	case pgtype.BoolOID:
		if string(data) == "t" {
			return []byte("true")
		}
		return []byte("false")
	case pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID, pgtype.Float4OID, pgtype.Float8OID, pgtype.NumericOID, pgtype.OIDOID:
		if json.Valid(data) { // NaN and Infinity are not
			return data
		}
	case pgtype.JSONOID, pgtype.JSONBOID:
		if json.Valid(data) {
			return data
		}
	case pgtype.ByteaOID:
		if hex, ok := bytes.CutPrefix(data, []byte(`\x`)); ok {
			return []byte(`{"$hex":"` + strings.ToUpper(string(hex)) + `"}`)
		}
	case pgtype.TimestampOID, pgtype.TimestamptzOID:
		return quoteJSON(isoTime(string(data)))
	}
	if t, ok := pgTypes.TypeForOID(oid); ok {
		if codec, ok := t.Codec.(*pgtype.ArrayCodec); ok {
			if out, ok := arrayJSON(oid, codec.ElementType.OID, data); ok {
				return out
			}
		}
	}
	return quoteJSON(string(data))
}

// isoTime is 2026-01-02T03:04:05.6+00:00 of PostgreSQL's 2026-01-02 03:04:05.6+00.
func isoTime(s string) string {
	if len(s) < 11 || s[10] != ' ' || strings.HasSuffix(s, "BC") {
		return s
	}
	s = s[:10] + "T" + s[11:]
	if strings.HasSuffix(s, "+00") {
		s += ":00"
	}
	return s
}

// arrayJSON is an array as lists in lists.
func arrayJSON(oid, element uint32, data []byte) ([]byte, bool) {
	var a pgtype.Array[*string]
	if err := pgTypes.Scan(oid, pgtype.TextFormatCode, data, &a); err != nil {
		return nil, false
	}
	if len(a.Dims) == 0 {
		return []byte("[]"), true
	}
	var b bytes.Buffer
	next := 0
	var list func(dims []pgtype.ArrayDimension)
	list = func(dims []pgtype.ArrayDimension) {
		b.WriteByte('[')
		for i := range int(dims[0].Length) {
			if i > 0 {
				b.WriteByte(',')
			}
			switch {
			case len(dims) > 1:
				list(dims[1:])
				continue
			case a.Elements[next] == nil:
				b.WriteString("null")
			default:
				b.Write(pgJSON(element, []byte(*a.Elements[next])))
			}
			next++
		}
		b.WriteByte(']')
	}
	list(a.Dims)
	return b.Bytes(), true
}
