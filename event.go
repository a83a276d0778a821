package mayfly

import (
	"encoding/json"
	"time"
)

// HTTPRequest is the event of an HTTP call to a Lambda-shaped handler: API
// Gateway's payload format 2.0.
type HTTPRequest struct {
	Version               string            `json:"version"` // "2.0"
	RouteKey              string            `json:"routeKey"`
	RawPath               string            `json:"rawPath"`
	RawQueryString        string            `json:"rawQueryString"`
	Cookies               []string          `json:"cookies,omitempty"`
	Headers               map[string]string `json:"headers"` // names in lower case, values joined by ","
	QueryStringParameters map[string]string `json:"queryStringParameters,omitempty"`
	PathParameters        map[string]string `json:"pathParameters,omitempty"`
	RequestContext        RequestContext    `json:"requestContext"`
	Body                  string            `json:"body,omitempty"`
	IsBase64Encoded       bool              `json:"isBase64Encoded"`
}

// RequestContext is payload 2.0's requestContext.
type RequestContext struct {
	AccountID    string      `json:"accountId"`
	APIID        string      `json:"apiId"`
	DomainName   string      `json:"domainName"`
	DomainPrefix string      `json:"domainPrefix"`
	HTTP         RequestHTTP `json:"http"`
	RequestID    string      `json:"requestId"`
	RouteKey     string      `json:"routeKey"`
	Stage        string      `json:"stage"`
	Time         string      `json:"time"`      // "02/Jan/2006:15:04:05 -0700"
	TimeEpoch    int64       `json:"timeEpoch"` // milliseconds
}

// RequestHTTP is payload 2.0's requestContext.http.
type RequestHTTP struct {
	Method    string `json:"method"`
	Path      string `json:"path"`
	Protocol  string `json:"protocol"`
	SourceIP  string `json:"sourceIp"`
	UserAgent string `json:"userAgent"`
}

// HTTPResponse is what a Lambda-shaped handler returns to an HTTP call.
type HTTPResponse struct {
	StatusCode        int                 `json:"statusCode"`
	Headers           map[string]string   `json:"headers,omitempty"`
	MultiValueHeaders map[string][]string `json:"multiValueHeaders,omitempty"`
	Cookies           []string            `json:"cookies,omitempty"`
	Body              string              `json:"body,omitempty"`
	IsBase64Encoded   bool                `json:"isBase64Encoded,omitempty"`
}

// Message is one item for a queue.
type Message struct {
	ID         string            `json:"id,omitempty"`  // given on acceptance
	Body       json.RawMessage   `json:"body"`          // any JSON; a string travels to handlers as it is
	Key        string            `json:"key,omitempty"` // for order_by: key
	DedupID    string            `json:"deduplication_id,omitempty"`
	At         time.Time         `json:"at,omitzero"` // not before
	Attributes map[string]string `json:"attributes,omitempty"`
	Trace      Trace             `json:"trace,omitzero"`
	Hops       int               `json:"hops,omitempty"` // functions that this event's causes went through
}

// CloudEvent is a CloudEvents 1.0 event in the JSON format.
type CloudEvent struct {
	ID              string                     `json:"id"`
	Source          string                     `json:"source"`
	SpecVersion     string                     `json:"specversion"` // "1.0"
	Type            string                     `json:"type"`        // the topic
	Subject         string                     `json:"subject,omitempty"`
	Time            time.Time                  `json:"time,omitzero"`
	DataContentType string                     `json:"datacontenttype,omitempty"`
	DataSchema      string                     `json:"dataschema,omitempty"`
	Data            json.RawMessage            `json:"data,omitempty"`
	DataBase64      string                     `json:"data_base64,omitempty"`
	Extensions      map[string]json.RawMessage `json:"-"`
}
