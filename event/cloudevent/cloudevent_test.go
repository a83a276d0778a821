package cloudevent

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	sdk "github.com/cloudevents/sdk-go/v2/event"

	"github.com/mayfly-cloud/mayfly"
)

const sample = `{"specversion":"1.0","type":"com.example.someevent","source":"/mycontext","id":"A234-1234-1234","time":"2018-04-05T17:31:00Z","comexampleextension1":"value","comexampleothervalue":5,"datacontenttype":"application/json","data":{"appinfoA":"abc","appinfoB":123,"appinfoC":true}}`

// What is written, the SDK reads as what was read.
func TestRoundTrip(t *testing.T) {
	e, err := Decode([]byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	text, err := Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	var theirs sdk.Event
	if err := json.Unmarshal(text, &theirs); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if err := theirs.Validate(); err != nil {
		t.Fatal(err)
	}
	if theirs.ID() != e.ID || theirs.Type() != "com.example.someevent" || !theirs.Time().Equal(time.Date(2018, 4, 5, 17, 31, 0, 0, time.UTC)) ||
		theirs.Extensions()["comexampleextension1"] != "value" || theirs.Extensions()["comexampleothervalue"] != int32(5) ||
		string(theirs.Data()) != `{"appinfoA":"abc","appinfoB":123,"appinfoC":true}` {
		t.Errorf("the SDK reads %v", theirs)
	}
}

// Both refuse and accept the same.
func TestAgreesWithTheSDK(t *testing.T) {
	for _, text := range []string{
		sample,
		`{"specversion":"1.0","type":"t","source":"s","id":"1"}`,
		`{"specversion":"1.0","type":"t","source":"s","id":"1","data":null}`,
		`{"specversion":"1.0","type":"t","source":"s","id":"1","data_base64":"aGk="}`,
		`{"specversion":"1.0","type":"t","source":"s"}`,
		`{"specversion":"1.0","type":"t","id":"1"}`,
		`{"specversion":"1.0","source":"s","id":"1"}`,
		`{"type":"t","source":"s","id":"1"}`,
		`{"specversion":"2.0","type":"t","source":"s","id":"1"}`,
		`{"specversion":"1.0","type":"t","source":"s","id":"1","time":"yesterday"}`,
		`{"specversion":"1.0","type":"t","source":"s","id":7}`,
		`{"specversion":"1.0","type":"t","source":"s","id":"1","data_base64":"%%"}`,
		`[]`, `{`,
	} {
		_, err := Decode([]byte(text))
		var theirs sdk.Event
		want := json.Unmarshal([]byte(text), &theirs)
		if want == nil {
			want = theirs.Validate()
		}
		if (err == nil) != (want == nil) {
			t.Errorf("%s: %v; the SDK says %v", text, err, want)
		}
		if err != nil && mayfly.CodeOf(err) != mayfly.Invalid {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`{"specversion":"1.0","type":"t","source":"s","id":"1","Bad":"x"}`:                     `"Bad"`,
		`{"specversion":"1.0","type":"t","source":"s","id":"1","ext":{"a":1}}`:                 "ext is an object",
		`{"specversion":"1.0","type":"t","source":"s","id":"1","data":1,"data_base64":"aGk="}`: "both",
		`{"specversion":"1.0","type":"t","source":"s","id":"1","dataschema":"rel"}`:            "dataschema",
		`{"specversion":"1.0","type":"t","source":"%zz","id":"1"}`:                             "source",
	} {
		if _, err := Decode([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", text, err, want)
		}
	}
}

func header(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

func TestFromRequest(t *testing.T) {
	binaryHead := []string{"ce-specversion", "1.0", "ce-type", "t", "ce-source", "/s", "ce-id", "1", "ce-time", "2018-04-05T17:31:00Z", "ce-subject", "Euro%20%E2%82%AC%20%F0%9F%98%80", "ce-ext", "x"}
	for _, c := range []struct {
		name string
		h    http.Header
		body string
		want string // the first event as JSON; "" not an event
		n    int
	}{
		{"structured", header("Content-Type", MediaType+"; charset=utf-8"), `{"specversion":"1.0","type":"t","source":"s","id":"1"}`, `{"id":"1","source":"s","specversion":"1.0","type":"t"}`, 1},
		{"batch", header("Content-Type", BatchMediaType), `[{"specversion":"1.0","type":"t","source":"s","id":"1"},{"specversion":"1.0","type":"t","source":"s","id":"2"}]`, `{"id":"1","source":"s","specversion":"1.0","type":"t"}`, 2},
		{"empty batch", header("Content-Type", BatchMediaType), `[]`, "", 0},
		{"binary, JSON", header(append(binaryHead, "Content-Type", "application/json")...), `{"a":1}`,
			`{"id":"1","source":"/s","specversion":"1.0","type":"t","subject":"Euro € 😀","time":"2018-04-05T17:31:00Z","datacontenttype":"application/json","data":{"a":1},"ext":"x"}`, 1},
		{"binary, text", header("ce-specversion", "1.0", "ce-type", "t", "ce-source", "/s", "ce-id", "1", "Content-Type", "text/plain"), `hi`,
			`{"id":"1","source":"/s","specversion":"1.0","type":"t","datacontenttype":"text/plain","data":"hi"}`, 1},
		{"binary, bytes", header("ce-specversion", "1.0", "ce-type", "t", "ce-source", "/s", "ce-id", "1", "Content-Type", "image/png"), "\xff",
			`{"id":"1","source":"/s","specversion":"1.0","type":"t","datacontenttype":"image/png","data_base64":"/w=="}`, 1},
		{"plain JSON", header("Content-Type", "application/json"), `{}`, "", -1},
	} {
		events, ok, err := FromRequest(c.h, []byte(c.body))
		if err != nil || ok != (c.n >= 0) || ok && len(events) != c.n {
			t.Errorf("%s: %d events, %v, %v", c.name, len(events), ok, err)
			continue
		}
		if c.want == "" {
			continue
		}
		if err := Validate(events[0]); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if text, err := Encode(events[0]); err != nil || string(text) != c.want {
			t.Errorf("%s: %s, %v; want %s", c.name, text, err, c.want)
		}
	}
	for name, h := range map[string]http.Header{
		"another format": header("Content-Type", "application/cloudevents+avro"),
		"data in a head": header("ce-specversion", "1.0", "ce-data", "x"),
		"bad encoding":   header("ce-specversion", "1.0", "ce-subject", "%zz"),
		"bad time":       header("ce-specversion", "1.0", "ce-time", "now"),
		"not JSON":       header("ce-specversion", "1.0", "Content-Type", "application/json"),
	} {
		if _, ok, err := FromRequest(h, []byte("x")); !ok || mayfly.CodeOf(err) != mayfly.Invalid {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte(`{"specversion":"1.0","type":"t","source":"s","id":"1","data":null,"x":1e9}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := Decode(text)
		if err != nil {
			return
		}
		again, err := Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Decode(again); err != nil {
			t.Errorf("%s is written as %s: %v", text, again, err)
		}
	})
}
