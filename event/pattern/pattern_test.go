package pattern

import (
	"strings"
	"testing"

	"github.com/mayfly-cloud/mayfly"
)

// The documented semantics of EventBridge's patterns: "Creating Amazon
// EventBridge event patterns" and "Comparison operators for use in event
// patterns" in its user guide.
func TestMatch(t *testing.T) {
	const ec2 = `{"source":"aws.ec2","detail-type":"EC2 Instance State-change Notification","account":"111122223333","time":"2017-12-22T18:43:48Z","region":"us-west-1","resources":["arn:aws:ec2:us-west-1:123456789012:instance/i-1234567890abcdef0"],"detail":{"instance-id":"i-1234567890abcdef0","state":"terminated"}}`
	const mixed = `{"detail":{"c-count":5,"d-count":3,"x-limit":301.8,"name":"Alice","empty":"","none":null,"yes":true,"tags":["a","b"],"nested":{"deep":{"x":1}},"list":[],"ip":"10.0.0.7","ip6":"2001:db8::7","FileName":"dir/image.PNG","rows":[{"k":"a","v":1},{"k":"b","v":2}]}}`
	for _, c := range []struct {
		name, event, pattern string
		want                 bool
	}{
		{"the guide's first pattern", ec2, `{"source":["aws.ec2"],"detail-type":["EC2 Instance State-change Notification"],"detail":{"state":["terminated"]}}`, true},
		{"another value", ec2, `{"detail":{"state":["running"]}}`, false},
		{"one of several", ec2, `{"detail":{"state":["running","terminated"]}}`, true},
		{"all fields must match", ec2, `{"source":["aws.ec2"],"detail":{"state":["running"]}}`, false},
		{"fields that are not named are ignored", ec2, `{"account":["111122223333"]}`, true},
		{"a list in the event", ec2, `{"resources":["arn:aws:ec2:us-west-1:123456789012:instance/i-1234567890abcdef0","other"]}`, true},
		{"a list without it", ec2, `{"resources":["other"]}`, false},
		{"case counts", ec2, `{"source":["AWS.ec2"]}`, false},
		{"a field that is not there", ec2, `{"detail":{"other":["x"]}}`, false},
		{"below a text", ec2, `{"source":{"x":["y"]}}`, false},

		{"number", mixed, `{"detail":{"c-count":[5]}}`, true},
		{"numbers are compared as written", mixed, `{"detail":{"c-count":[5.0]}}`, false},
		{"a number is no text", mixed, `{"detail":{"c-count":["5"]}}`, false},
		{"true", mixed, `{"detail":{"yes":[true]}}`, true},
		{"false", mixed, `{"detail":{"yes":[false]}}`, false},
		{"null", mixed, `{"detail":{"none":[null]}}`, true},
		{"null is not empty", mixed, `{"detail":{"empty":[null]}}`, false},
		{"empty text", mixed, `{"detail":{"empty":[""]}}`, true},
		{"absent is not null", mixed, `{"detail":{"absent":[null]}}`, false},
		{"a list of nothing is not there", mixed, `{"detail":{"list":[{"exists":false}]}}`, true},
		{"several texts and null", mixed, `{"detail":{"none":["a",null],"empty":["a",""]}}`, true},
		{"elements of lists", mixed, `{"detail":{"tags":["b"]}}`, true},

		{"prefix", ec2, `{"time":[{"prefix":"2017-12-22"}]}`, true},
		{"prefix, not", ec2, `{"time":[{"prefix":"2018"}]}`, false},
		{"prefix of a number", mixed, `{"detail":{"c-count":[{"prefix":"5"}]}}`, false},
		{"prefix in any case", ec2, `{"source":[{"prefix":{"equals-ignore-case":"AWS"}}]}`, true},
		{"suffix", mixed, `{"detail":{"FileName":[{"suffix":".PNG"}]}}`, true},
		{"suffix, case", mixed, `{"detail":{"FileName":[{"suffix":".png"}]}}`, false},
		{"suffix in any case", mixed, `{"detail":{"FileName":[{"suffix":{"equals-ignore-case":".png"}}]}}`, true},
		{"equals-ignore-case", mixed, `{"detail":{"name":[{"equals-ignore-case":"aLICE"}]}}`, true},
		{"equals-ignore-case, not", mixed, `{"detail":{"name":[{"equals-ignore-case":"bob"}]}}`, false},

		{"wildcard", mixed, `{"detail":{"FileName":[{"wildcard":"dir/*.PNG"}]}}`, true},
		{"wildcard at both ends", mixed, `{"detail":{"FileName":[{"wildcard":"*image*"}]}}`, true},
		{"wildcard, nothing between", mixed, `{"detail":{"name":[{"wildcard":"Ali*ce"}]}}`, true},
		{"wildcard, overlap", mixed, `{"detail":{"name":[{"wildcard":"Alice*ice"}]}}`, false},
		{"wildcard, not", mixed, `{"detail":{"FileName":[{"wildcard":"dir/*.jpg"}]}}`, false},
		{"wildcard, escaped", `{"a":"x*y"}`, `{"a":[{"wildcard":"x\\*y"}]}`, true},
		{"wildcard, escaped is literal", `{"a":"xzy"}`, `{"a":[{"wildcard":"x\\*y"}]}`, false},
		{"wildcard, backslash", `{"a":"x\\y"}`, `{"a":[{"wildcard":"x\\\\*"}]}`, true},

		{"the guide's numeric range", mixed, `{"detail":{"c-count":[{"numeric":[">",0,"<=",5]}],"d-count":[{"numeric":["<",10]}],"x-limit":[{"numeric":["=",3.018e2]}]}}`, true},
		{"numeric, below", mixed, `{"detail":{"c-count":[{"numeric":["<",5]}]}}`, false},
		{"numeric, at", mixed, `{"detail":{"c-count":[{"numeric":[">=",5]}]}}`, true},
		{"numeric of a text", mixed, `{"detail":{"name":[{"numeric":[">",0]}]}}`, false},
		{"numeric of nothing", mixed, `{"detail":{"absent":[{"numeric":["<",10]}]}}`, false},

		{"anything-but", ec2, `{"detail":{"state":[{"anything-but":"initializing"}]}}`, true},
		{"anything-but, not", ec2, `{"detail":{"state":[{"anything-but":"terminated"}]}}`, false},
		{"anything-but a number", mixed, `{"detail":{"x-limit":[{"anything-but":123}]}}`, true},
		{"anything-but a list", ec2, `{"detail":{"state":[{"anything-but":["stopped","overloaded"]}]}}`, true},
		{"anything-but a list, not", ec2, `{"detail":{"state":[{"anything-but":["stopped","terminated"]}]}}`, false},
		{"anything-but numbers, not", mixed, `{"detail":{"c-count":[{"anything-but":[100,5]}]}}`, false},
		{"anything-but a number, however written", mixed, `{"detail":{"c-count":[{"anything-but":5.0}]}}`, false},
		{"anything-but null, which is none", mixed, `{"detail":{"none":[{"anything-but":"x"}]}}`, true},
		{"anything-but needs the field", mixed, `{"detail":{"absent":[{"anything-but":"x"}]}}`, false},
		{"anything-but prefix", ec2, `{"detail":{"state":[{"anything-but":{"prefix":"init"}}]}}`, true},
		{"anything-but prefix, not", ec2, `{"detail":{"state":[{"anything-but":{"prefix":"term"}}]}}`, false},
		{"anything-but prefixes", ec2, `{"detail":{"state":[{"anything-but":{"prefix":["init","term"]}}]}}`, false},
		{"anything-but suffix", mixed, `{"detail":{"FileName":[{"anything-but":{"suffix":".txt"}}]}}`, true},
		{"anything-but suffix, not", mixed, `{"detail":{"FileName":[{"anything-but":{"suffix":[".txt",".PNG"]}}]}}`, false},
		{"anything-but in any case", mixed, `{"detail":{"name":[{"anything-but":{"equals-ignore-case":["bob","ALICE"]}}]}}`, false},
		{"anything-but wildcard", mixed, `{"detail":{"FileName":[{"anything-but":{"wildcard":"*/lib/*"}}]}}`, true},
		{"anything-but wildcard, not", mixed, `{"detail":{"FileName":[{"anything-but":{"wildcard":"*/image*"}}]}}`, false},

		{"exists", ec2, `{"detail":{"state":[{"exists":true}]}}`, true},
		{"exists, not", ec2, `{"detail":{"c-count":[{"exists":true}]}}`, false},
		{"does not exist", ec2, `{"detail":{"c-count":[{"exists":false}]}}`, true},
		{"does not exist, not", ec2, `{"detail":{"state":[{"exists":false}]}}`, false},
		{"exists is for leaves", mixed, `{"detail":{"nested":[{"exists":true}]}}`, false},
		{"exists below", mixed, `{"detail":{"nested":{"deep":{"x":[{"exists":true}]}}}}`, true},
		{"null exists", mixed, `{"detail":{"none":[{"exists":true}]}}`, true},
		{"does not exist below nothing", mixed, `{"absent":{"x":[{"exists":false}]}}`, true},
		{"exists or a value", mixed, `{"detail":{"absent":[{"exists":false},"x"]}}`, true},

		{"cidr", mixed, `{"detail":{"ip":[{"cidr":"10.0.0.0/24"}]}}`, true},
		{"cidr, not", mixed, `{"detail":{"ip":[{"cidr":"10.0.1.0/24"}]}}`, false},
		{"cidr of IPv6", mixed, `{"detail":{"ip6":[{"cidr":"2001:db8::/32"}]}}`, true},
		{"cidr of a text", mixed, `{"detail":{"name":[{"cidr":"0.0.0.0/0"}]}}`, false},

		{"the guide's $or", mixed, `{"detail":{"$or":[{"c-count":[{"numeric":[">",0,"<=",5]}]},{"d-count":[{"numeric":["<",2]}]},{"x-limit":[{"numeric":["=",3.018e2]}]}]}}`, true},
		{"$or, none", mixed, `{"detail":{"$or":[{"c-count":[7]},{"d-count":[7]}]}}`, false},
		{"$or and a field", mixed, `{"detail":{"name":["Bob"],"$or":[{"c-count":[5]},{"d-count":[7]}]}}`, false},
		{"the guide's $or of whole patterns", ec2, `{"source":["aws.ec2"],"$or":[{"account":["1"],"detail":{"state":["running"]}},{"region":[{"prefix":"us-"}],"detail":{"state":["terminated"]}}]}`, true},
		{"$or in $or", mixed, `{"detail":{"$or":[{"$or":[{"name":["Bob"]},{"name":["Alice"]}]},{"yes":[false]}]}}`, true},
		{"$or at the top", ec2, `{"$or":[{"source":["x"]},{"detail":{"state":["terminated"]}}]}`, true},

		{"fields in one element", mixed, `{"detail":{"rows":{"k":["b"],"v":[2]}}}`, true},
		{"fields in two elements", mixed, `{"detail":{"rows":{"k":["a"],"v":[2]}}}`, false},
		{"several operators", mixed, `{"detail":{"name":[{"prefix":"B"},{"suffix":"ce"}]}}`, true},
		{"not JSON", `{`, `{"a":["b"]}`, false},
		{"not an object", `[1]`, `{"a":[1]}`, false},
	} {
		p, err := Compile([]byte(c.pattern))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := p.MatchJSON([]byte(c.event)); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`{`:                                      "not JSON",
		`[]`:                                     "object",
		`{}`:                                     "object",
		`{"a":{}}`:                               "a: an empty object",
		`{"a":[]}`:                               "a: an empty list",
		`{"a":"b"}`:                              `a: write the value in a list: ["b"]`,
		`{"a":{"b":3}}`:                          "a.b: write the value in a list: [3]",
		`{"a":[["b"]]}`:                          "a[0]: a list in a list",
		`{"a":["x",{"like":"b"}]}`:               `a[1]: "like" is not known`,
		`{"a":[{"prefix":"b","suffix":"c"}]}`:    "one key",
		`{"a":[{"prefix":3}]}`:                   "prefix is a text",
		`{"a":[{"equals-ignore-case":3}]}`:       "is a text",
		`{"a":[{"wildcard":"a**b"}]}`:            "two *",
		`{"a":[{"wildcard":"a\\b"}]}`:            "comes before",
		`{"a":[{"numeric":[]}]}`:                 "numeric",
		`{"a":[{"numeric":[">"]}]}`:              "numeric",
		`{"a":[{"numeric":["~",1]}]}`:            "an operator",
		`{"a":[{"numeric":[">","1"]}]}`:          "an operator",
		`{"a":[{"numeric":["<",5,">",0]}]}`:      "a range",
		`{"a":[{"exists":"yes"}]}`:               "true or false",
		`{"a":[{"cidr":"10.0.0.0"}]}`:            "10.0.0.0/24",
		`{"a":[{"anything-but":[]}]}`:            "nothing in it",
		`{"a":[{"anything-but":[null]}]}`:        "texts and numbers",
		`{"a":[{"anything-but":{"numeric":1}}]}`: "anything-but takes",
		`{"$or":[{"a":["b"]}]}`:                  "two patterns",
		`{"$or":[{"a":["b"]},3]}`:                "$or[1]",
		`{"a":["b"]} x`:                          "not JSON",
		strings.Repeat(`{"a":`, 100) + `["b"]` + strings.Repeat(`}`, 100): "too deeply",
	} {
		_, err := Compile([]byte(text))
		if mayfly.CodeOf(err) != mayfly.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", text, err, want)
		}
	}
}

func FuzzMatch(f *testing.F) {
	f.Add(`{"a":[{"wildcard":"a*b"}],"$or":[{"b":[1]},{"c":[{"exists":false}]}]}`, `{"a":"axb","c":[{"d":null}]}`)
	f.Add(`{"a":[{"anything-but":{"prefix":["x"]}}]}`, `{"a":["y",{"z":1}]}`)
	f.Add(`{"a":[{"numeric":[">",1e309]}]}`, `{"a":1e400}`)
	f.Fuzz(func(t *testing.T, pattern, event string) {
		p, err := Compile([]byte(pattern))
		if err == nil {
			p.MatchJSON([]byte(event))
		} else if mayfly.CodeOf(err) != mayfly.Invalid {
			t.Error(err)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	p, err := Compile([]byte(`{"type":["order.created"],"data":{"total":[{"numeric":[">",100]}],"country":["CH","LI"]}}`))
	if err != nil {
		b.Fatal(err)
	}
	event, err := Event([]byte(`{"id":"1","type":"order.created","data":{"total":250,"country":"LI","lines":[{"sku":"a"},{"sku":"b"}]}}`))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if !p.Match(event) {
			b.Fatal("no match")
		}
	}
}
