module pilotage.dev/benchmarks/load

go 1.26
