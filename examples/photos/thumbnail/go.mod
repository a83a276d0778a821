module thumbnail

go 1.22
