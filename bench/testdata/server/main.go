// Command server answers "ok" on $PORT.
package main

import (
	"log"
	"net/http"
	"os"
)

func main() {
	body := []byte("ok")
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(body) })))
}
