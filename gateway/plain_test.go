package gateway

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// plainForms are responses that plain takes.
var plainForms = []string{
	`{"statusCode":200,"headers":{"content-type":"text/plain"},"body":"ok"}`,
	`{"statusCode": 404, "body": "{\"a\":\"\\u00e4\",\n\t\"b\":1}", "headers": {}}`,
	` { "isBase64Encoded" : true , "body" : "AAEC" , "statusCode" : 201 } `,
	`{"statusCode":204}`,
	`{"statusCode":200,"body":"ä🦋","headers":{"X-A":"1","x-b":"","Transfer-Encoding":"chunked"},"isBase64Encoded":false}`,
	`{"statusCode":599,"body":"\"\\\/\b\f\n\r\t"}`,
}

func TestPlainTakesWhatIsUsual(t *testing.T) {
	for _, form := range plainForms {
		if _, _, ok := plain(http.Header{}, []byte(form)); !ok {
			t.Errorf("%s is not taken", form)
		}
		comparePlain(t, []byte(form))
	}
}

// comparePlain holds what plain takes against encoding/json.
func comparePlain(t *testing.T, payload []byte) {
	t.Helper()
	h := http.Header{}
	status, body, ok := plain(h, payload)
	if !ok {
		if len(h) > 0 {
			t.Errorf("%q is not taken, and leaves %v", payload, h)
		}
		return
	}
	var out response
	if err := json.Unmarshal(payload, &out); err != nil {
		t.Fatalf("%q is taken: %v", payload, err)
	}
	want := http.Header{}
	wantStatus, wantBody, err := general(want, &out)
	if err != nil || status != wantStatus || !bytes.Equal(body, wantBody) || !maps.EqualFunc(h, want, slices.Equal) {
		t.Errorf("%q: status %d, body %q, %v; want %d, %q, %v (%v)", payload, status, body, h, wantStatus, wantBody, want, err)
	}
}

func FuzzPlain(f *testing.F) {
	for _, form := range append(plainForms,
		`{"statusCode":"200"}`, `{"statusCode":200.0}`, `{"statusCode":2000}`, `{"statusCode":200,"STATUSCODE":201}`, `{"statusCode":200,"statusCode":201}`,
		`{"statusCode":200,"headers":{"a":null,"Set-Cookie":"1","set-cookie":"2"}}`, `{"statusCode":200,"headers":{"a":"1","A":"2"}}`,
		"{\"statusCode\":\x00200,\"body\":\"\x01\"}", "{\"statusCode\":200,\"body\":\"\xff\"}", `{"statusCode":200,"body":"\u00e4"}`, `{"statusCode":200,"body":null}`,
		`{"statusCode":200,"isBase64Encoded":true,"body":"?"}`, `{"statusCode":200,}`, `{"statusCode":200}}`, `{"statusCode":200,"body":"`, `{"statusCode":200,"isBase64Encoded":tru`,
	) {
		f.Add([]byte(form))
	}
	f.Fuzz(func(t *testing.T, payload []byte) { comparePlain(t, payload) })
}

// BenchmarkShape reads a usual response, and the same with its status in quotes,
// which encoding/json reads.
func BenchmarkShape(b *testing.B) {
	for name, form := range map[string]string{"usual": plainForms[0], "other": strings.Replace(plainForms[0], "200", `"200"`, 1)} {
		b.Run(name, func(b *testing.B) {
			payload := []byte(form)
			b.ReportAllocs()
			for b.Loop() {
				if status, _, err := shape(http.Header{}, payload); status != 200 || err != nil {
					b.Fatal(status, err)
				}
			}
		})
	}
}
