package control

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strings"

	"github.com/mayfly-cloud/mayfly"
)

// whole are keys whose value is free-form and compared as one text.
var whole = []string{"schema_body", "match", "transform", "input"}

// fields are the values of x by key, nested keys with dots, as people read them.
func fields(x any) map[string]string {
	data, err := json.Marshal(x)
	if err != nil {
		panic("control: a noun has no JSON: " + err.Error())
	}
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		panic("control: a noun's JSON cannot be read: " + err.Error())
	}
	out := map[string]string{}
	flatten(out, "", v)
	return out
}

func flatten(out map[string]string, key string, v any) {
	m, isMap := v.(map[string]any)
	if !isMap || slices.Contains(whole, key) {
		out[key] = text(v)
		return
	}
	for k, v := range m {
		if key != "" {
			k = key + "." + k
		}
		flatten(out, k, v)
	}
}

// text is a value on one line; a long one by its beginning, length and checksum.
func text(v any) string {
	s, isString := v.(string)
	if list, isList := v.([]any); isList {
		words := make([]string, len(list))
		for i, x := range list {
			words[i] = text(x)
		}
		s, isString = "["+strings.Join(words, ", ")+"]", true
	}
	if !isString {
		data, _ := json.Marshal(v)
		s = string(data)
	}
	if strings.Contains(s, "\n") || len(s) > 120 {
		first, _, _ := strings.Cut(s, "\n")
		return fmt.Sprintf("%s… (%d bytes, %08x)", strings.ToValidUTF8(first[:min(len(first), 60)], ""), len(s), crc32.ChecksumIEEE([]byte(s)))
	}
	return s
}

// fieldChanges compares two sets of fields, in the order of their keys.
func fieldChanges(old, want map[string]string) []FieldChange {
	keys := map[string]bool{}
	for k := range old {
		keys[k] = true
	}
	for k := range want {
		keys[k] = true
	}
	var out []FieldChange
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if old[k] != want[k] {
			out = append(out, FieldChange{Field: k, Old: old[k], New: want[k]})
		}
	}
	return out
}

func triggerKey(t *mayfly.Trigger) string {
	kind, value := t.Kind()
	return string(kind) + "\x00" + value + "\x00" + t.Name
}

func compareTriggers(old, want []mayfly.Trigger) []TriggerChange {
	was := map[string]*mayfly.Trigger{}
	for i := range old {
		was[triggerKey(&old[i])] = &old[i]
	}
	var out []TriggerChange
	for i := range want {
		t := &want[i]
		kind, value := t.Kind()
		before := was[triggerKey(t)]
		delete(was, triggerKey(t))
		switch {
		case before == nil:
			out = append(out, TriggerChange{Action: Add, Kind: kind, On: value, want: t})
		case jsonOf(before) != jsonOf(t):
			out = append(out, TriggerChange{Action: Change, Kind: kind, On: value, Fields: fieldChanges(fields(before), fields(t)), want: t})
		}
	}
	for i := range old {
		if t := was[triggerKey(&old[i])]; t != nil {
			kind, value := t.Kind()
			out = append(out, TriggerChange{Action: Remove, Kind: kind, On: value})
		}
	}
	return out
}

func jsonOf(x any) string {
	data, err := json.Marshal(x)
	if err != nil {
		panic("control: a noun has no JSON: " + err.Error())
	}
	return string(data)
}

func compareResources(old, want *mayfly.Manifest) []ResourceChange {
	return slices.Concat(
		compareSection("bucket", old.Buckets, want.Buckets),
		compareSection("queue", old.Queues, want.Queues),
		compareSection("topic", old.Topics, want.Topics),
		compareSection("kv", old.KV, want.KV),
		compareSection("database", old.Databases, want.Databases),
		compareSection("webhook", old.Webhooks, want.Webhooks),
		compareSection("alert", old.Alerts, want.Alerts),
	)
}

func compareSection[T any](kind string, old, want map[string]*T) []ResourceChange {
	var out []ResourceChange
	for _, name := range slices.Sorted(maps.Keys(want)) {
		before, existed := old[name]
		switch {
		case !existed:
			out = append(out, ResourceChange{Kind: kind, Name: name, Action: Add})
		case jsonOf(before) != jsonOf(want[name]):
			out = append(out, ResourceChange{Kind: kind, Name: name, Action: Change, Fields: fieldChanges(fields(before), fields(want[name]))})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(old)) {
		if _, stays := want[name]; !stays {
			out = append(out, ResourceChange{Kind: kind, Name: name, Action: Remove})
		}
	}
	return out
}
