// Command sqlclient answers each request with one statement's result, asked of
// the app's database as a function asks it.
package main

import (
	"io"
	"log"
	"net/http"
	"os"
	"strings"
)

func main() {
	url := os.Getenv("MAYFLY_ENDPOINT") + os.Getenv("MAYFLY_DATABASE_MAIN") + "query"
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}
	body := `{"sql": "select count(*) from generate_series(1, 1000)"}`
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		res, err := client.Post(url, "application/json", strings.NewReader(body))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer res.Body.Close()
		w.WriteHeader(res.StatusCode)
		_, _ = io.Copy(w, res.Body)
	})))
}
