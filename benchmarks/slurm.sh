#!/bin/bash
# The scripts of docs/cluster.md on a real Slurm of one node. As root, on a Debian machine that nobody needs for anything else:
#
#     benchmarks/slurm.sh [VENV]       VENV: the folder of the virtual environment, by default .venv beside this folder
#
# Installs slurm-wlm and munge, starts munged, slurmctld and slurmd on 127.0.0.1 with files of their own in a temporary folder, submits
# the scripts of the page, compares the results bit by bit with a run without Slurm, and stops what it has started. Exit code 0: all is as
# the page says.
set -u
here=$(cd "$(dirname "$0")/.." && pwd)
export UNTWIN=${1:-$here/.venv} PYTHONPATH=$here/src
[ "$(id -u)" = 0 ] || { echo "run this as root: it installs and starts Slurm"; exit 2; }
if ! command -v slurmctld munged > /dev/null; then
    apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends slurm-wlm munge || exit 2
fi
work=$(mktemp -d /tmp/untwin-slurm.XXXXXX)
chmod 755 "$work"
mkdir "$work/munge" "$work/state" "$work/spool" "$work/jobs"
node=$(hostname -s)
export SLURM_CONF=$work/slurm.conf
dd if=/dev/urandom of="$work/munge/key" bs=1 count=1024 status=none
chmod 400 "$work/munge/key"
cat > "$SLURM_CONF" <<CONF
ClusterName=untwin
SlurmctldHost=$node(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$work/munge/socket
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
SchedulerParameters=sched_interval=2
NodeName=$node NodeAddr=127.0.0.1 CPUs=$(getconf _NPROCESSORS_ONLN) RealMemory=8000 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF

daemons=()
stop() {
    scancel --user=root 2> /dev/null
    for ((k = ${#daemons[@]} - 1; k >= 0; k--)); do kill "${daemons[k]}" 2> /dev/null; wait "${daemons[k]}" 2> /dev/null; done
    [ "${failures:-1}" = 0 ] && rm -rf "$work" || echo "logs: $work"
}
trap stop EXIT
trap 'exit 130' INT TERM
munged --foreground --force --key-file="$work/munge/key" --socket="$work/munge/socket" --pid-file="$work/munge/pid" \
    --seed-file="$work/munge/seed" --log-file="$work/munge/log" > /dev/null 2>&1 & daemons+=($!)
until [ -S "$work/munge/socket" ]; do sleep 0.2; done
slurmctld -D > /dev/null 2>&1 & daemons+=($!)
slurmd -D -N "$node" > /dev/null 2>&1 & daemons+=($!)
until sinfo -h -o %T 2> /dev/null | grep -q idle; do sleep 0.5; done
sinfo

# The scripts of the page, by the name in their second line (or first, for Python)
cd "$work/jobs" || exit 1
awk -v RS='```' 'match($0, /# [a-z]+\.(sbatch|py) /) { name = substr($0, RSTART + 2, RLENGTH - 3); sub(/^[a-z]+\n/, ""); printf "%s", $0 > name }' \
    "$here/docs/cluster.md"
ls
source "$UNTWIN/bin/activate"
export OMP_NUM_THREADS=1
untwin demo -o demo > demo.log 2>&1 || { cat demo.log; exit 1; }
pattern=$work/jobs/demo/pattern.npz
plan="Plan(Search(30*(20*HIO + ShrinkWrap(sigma=1.5)) + 20*ER, starts=24, families=2), Guide((100*RAAR + 20*ER,), generations=2))"
cat > run.toml <<TOML
file = "$pattern"
recipe = "$plan"
seed = 1
TOML

failures=0
check() { # check NAME CONDITION...: what must hold
    local name=$1
    shift
    if "$@"; then echo "ok    $name"; else echo "WRONG $name"; failures=$((failures + 1)); fi
}
same() { python - "$1" "$2" <<'PY'
import sys
import torch
import untwin as ut
a, b = (ut.load(path) for path in sys.argv[1:])
sys.exit(not (torch.equal(a.image, b.image) and torch.equal(a.support, b.support) and a.seed == b.seed))
PY
}
job() { sbatch --parsable --time=10 "$@"; }
state() { scontrol show job "$1" | sed -n 's/.*JobState=\([A-Z_]*\).*/\1/p'; }
ended() { # its state in the end; a job that never begins is cancelled after five minutes
    local waited=0
    until case $(state "$1") in COMPLETED | FAILED | CANCELLED | TIMEOUT | NODE_FAIL) true ;; *) false ;; esac; do
        sleep 1
        waited=$((waited + 1))
        [ $waited = 300 ] && scancel "$1"
    done
    state "$1"
}
code() { scontrol show job "$1" | sed -n 's/.*ExitCode=\([0-9]*\):.*/\1/p'; }

# The runs of the page take a pattern; a short plan instead of the automatic one lies in run.toml, which untwin takes from UNTWIN_PLAN here
for script in one.sbatch cluster.sbatch; do sed -i 's|untwin reconstruct "$1"|untwin reconstruct "$1" --config run.toml|' "$script"; done
sed -i 's|-o "$result"|-o "$result" --config run.toml|' array.sbatch
untwin reconstruct "$pattern" --config run.toml -o plain --workers 2 > plain.log 2>&1

id=$(job --mem=0 --cpus-per-task=2 one.sbatch "$pattern" one)
check "one node: COMPLETED" [ "$(ended "$id")" = COMPLETED ]
check "one node: the bits of a run without Slurm" same plain one

id=$(job --mem=0 --cpus-per-task=2 one.sbatch "$pattern" again)
until [ -e again/checkpoint/run.untwin ]; do sleep 0.1; done
scancel --batch --signal=TERM "$id" # what --signal=B:TERM@120 does
until grep -q "go on with: untwin reconstruct --resume" "untwin-$id.log"; do sleep 0.2; done
check "one node, SIGTERM: what is done is kept" [ -d again/checkpoint ]
until [ "$(state "$id")" = PENDING ] || [ "$(state "$id")" = RUNNING ]; do sleep 0.5; done
scontrol update JobId="$id" StartTime=now
check "one node, SIGTERM: the job went back to the queue and ended" [ "$(ended "$id")" = COMPLETED ]
check "one node, SIGTERM: the bits of a run without Slurm" same plain again

id=$(job --mem-per-cpu=100 --ntasks=2 cluster.sbatch "$pattern" cluster)
check "scheduler and workers: COMPLETED" [ "$(ended "$id")" = COMPLETED ]
check "scheduler and workers: two workers" [ "$(grep -c "Registered to" "workers-$id.log")" = 2 ]
check "scheduler and workers: the bits of a run without Slurm" same plain cluster

mkdir -p patterns
for k in 1 2 3; do cp "$pattern" "patterns/p$k.npz"; done
id=$(job --mem=0 --array=0-2%2 array.sbatch patterns results)
until [ -z "$(squeue -h -j "$id")" ]; do sleep 1; done
for k in 1 2 3; do check "array: pattern $k" same plain "results/p$k"; done

sed -i 's/memory="4GB"/memory="1GB"/' jobqueue.py
timeout 600 python jobqueue.py "$pattern" jobqueue > jobqueue.log 2>&1
check "SLURMCluster: exit code 0" [ $? = 0 ]
python -c "import untwin as ut; ut.reconstruct(ut.read('$pattern'), starts=4, seed=1).save('here')" > here.log 2>&1
check "SLURMCluster: the bits of a run without it" same here jobqueue

echo "$failures wrong"
exit $((failures > 0))
