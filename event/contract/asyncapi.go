package contract

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/mayfly-cloud/mayfly"
)

// Channel is a topic for AsyncAPI.
type Channel struct {
	Schema      json.RawMessage // of the data; nil: any
	Subscribers []string        // functions that receive its events
}

// AsyncAPI describes an app's topics as an AsyncAPI 3.0 document.
// https://www.asyncapi.com/docs/reference/specification/v3.0.0
func AsyncAPI(app mayfly.AppName, topics map[string]Channel) ([]byte, error) {
	channels, operations, messages, schemas := object{}, object{}, object{}, object{}
	for _, name := range slices.Sorted(maps.Keys(topics)) {
		t := topics[name]
		id := pascal(name)
		var data any = true
		if len(t.Schema) > 0 {
			var tree any
			if err := json.Unmarshal(t.Schema, &tree); err != nil {
				return nil, mayfly.Errorf(mayfly.Invalid, "export topics", "the schema of %s is not JSON: %w", name, err)
			}
			schemas[id] = within("#/components/schemas/"+id, tree)
			data = ref("components/schemas", id)
		}
		messages[id] = object{
			"name": name, "contentType": "application/cloudevents+json",
			"payload": object{
				"type": "object", "required": []string{"id", "source", "specversion", "type"},
				"properties": object{
					"id": object{"type": "string"}, "source": object{"type": "string", "format": "uri-reference"}, "specversion": object{"const": "1.0"},
					"type": object{"const": name}, "subject": object{"type": "string"}, "time": object{"type": "string", "format": "date-time"}, "data": data,
				},
			},
		}
		channels[id] = object{"address": name, "messages": object{id: ref("components/messages", id)}}
		operations["publish"+id] = object{"action": "receive", "summary": "The app accepts events of this topic", "channel": ref("channels", id)}
		for _, fn := range t.Subscribers {
			operations["deliver"+id+"To"+pascal(fn)] = object{"action": "send", "summary": "The function " + fn + " receives events of this topic", "channel": ref("channels", id)}
		}
	}
	return json.MarshalIndent(object{
		"asyncapi":           "3.0.0",
		"info":               object{"title": string(app), "version": "1"},
		"defaultContentType": "application/cloudevents+json",
		"channels":           channels,
		"operations":         operations,
		"components":         object{"messages": messages, "schemas": schemas},
	}, "", "  ")
}

// within makes a schema's references to itself hold where it is put.
func within(place string, v any) any {
	switch v := v.(type) {
	case object:
		out := object{}
		for key, value := range v {
			if text, ok := value.(string); ok && key == "$ref" && strings.HasPrefix(text, "#") {
				out[key] = place + text[1:]
			} else {
				out[key] = within(place, value)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = within(place, v[i])
		}
		return out
	}
	return v
}

func ref(where, id string) object { return object{"$ref": "#/" + where + "/" + id} }
