package sample

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/event/cloudevent"
)

func TestEvery(t *testing.T) {
	for _, kind := range Kinds {
		text, err := Event(kind, "", "")
		if err != nil || !json.Valid(text) {
			t.Errorf("%s: %s, %v", kind, text, err)
		}
		again, _ := Event(kind, "", "")
		if string(again) != string(text) {
			t.Errorf("%s is not the same each time", kind)
		}
	}
	if _, err := Event("fax", "", ""); mayfly.CodeOf(err) != mayfly.Invalid {
		t.Error(err)
	}
	text, err := Event(mayfly.TriggerTopic, "a", "b.c")
	if err != nil {
		t.Fatal(err)
	}
	e, err := cloudevent.Decode(text)
	if err != nil || e.Type != "b.c" || e.Source != "/apps/a" {
		t.Error(e, err)
	}
	if text, _ := Event(mayfly.TriggerQueue, "a", "mail"); !strings.Contains(string(text), "000000000000:a-mail") {
		t.Errorf("%s", text)
	}
}
