"""What calls of a Machine answer that other layers make."""

from pymigrate.claims.judge import Verdict as Verdict
from pymigrate.mm.calls.ksm import KsmState as KsmState
from pymigrate.plan.plan import Plan as Plan
from pymigrate.views.proc.buddyinfo import BuddyRow as BuddyRow
from pymigrate.views.told.accesses import AccessRow as AccessRow
from pymigrate.views.told.balance import BalanceRow as BalanceRow
from pymigrate.views.told.memory_tiering import TierRow as TierRow
