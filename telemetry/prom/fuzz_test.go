package prom

import (
	"testing"

	"github.com/mayfly-cloud/mayfly"
)

// FuzzEmbedded is whatever a function prints that looks like the embedded metric
// format: its metrics are numbers of that function.
func FuzzEmbedded(f *testing.F) {
	f.Add(`{"_aws":{"CloudWatchMetrics":[{"Namespace":"n","Dimensions":[["d"]],"Metrics":[{"Name":"m","Unit":"Count"}]}]},"d":"x","m":[1,2]}`)
	f.Add(`{"_aws":{"CloudWatchMetrics":[{"Dimensions":[[]],"Metrics":[{"Name":""}]}]},"":1}`)
	m, err := Open(Config{Dir: f.TempDir(), Series: 1000})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		points := appendEmbedded(nil, &mayfly.LogLine{App: "shop", Function: "pay", Text: text})
		for _, p := range points {
			if p.App != "shop" || p.Function != "pay" {
				t.Fatalf("%+v is another's", p)
			}
		}
		m.Points(points)
	})
}
